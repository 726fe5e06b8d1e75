"""YAML files of policies and directories, read strictly: a refusal names line and reason."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from shared.errors import UserError

__all__ = ["FileError", "Spot", "read_text", "read_yaml"]

MAX_BYTES = 1 << 20
_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


class FileError(UserError):
    """The file cannot be taken; the message says where and why."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source}, line {line}: {reason}")
        self.line, self.reason = line, reason


class Spot:
    """A place in a file; reading something else there than is expected raises FileError."""

    def __init__(self, node: yaml.Node, source: str, what: str) -> None:
        self._node, self._source, self.what = node, source, what

    def refusal(self, reason: str) -> FileError:
        """Return the error that says *reason* of this place."""
        return FileError(self._source, self._node.start_mark.line + 1, f"{self.what}: {reason}")

    def entries(self) -> Mapping[str, "Spot"]:
        """Return what stands under each key."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.refusal("must be a table")
        found: dict[str, Spot] = {}
        for key, value in self._node.value:
            name = Spot(key, self._source, f"a key of {self.what}").text()
            if name in found:
                raise found[name].refusal("stands twice")
            found[name] = Spot(value, self._source, f"{self.what}.{name}".removeprefix("file."))
        return found

    def table(
        self, required: Collection[str], optional: Collection[str] = ()
    ) -> Mapping[str, "Spot"]:
        """Return what stands under each key, all *required* ones and no unknown one among them."""
        found = self.entries()
        for name, spot in found.items():
            if name not in required and name not in optional:
                known = ", ".join([*required, *optional])
                raise spot.refusal(f"unknown key (known here: {known})")
        for name in required:
            if name not in found:
                raise self.refusal(f"{name} is missing")
        return found

    def items(self) -> list["Spot"]:
        """Return the members of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.refusal("must be a list")
        return [
            Spot(node, self._source, f"{self.what}[{index}]")
            for index, node in enumerate(self._node.value)
        ]

    def text(self) -> str:
        """Return a text that is not empty; what YAML takes for something else must be quoted."""
        node = self._node
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            raise self.refusal("must be text (in quotes, if it looks like a number or a yes)")
        value: str = node.value.strip()
        if not value or not value.isprintable():
            raise self.refusal("is empty or not printable")
        return value

    def one_of(self, known: Collection[str]) -> str:
        """Return one of the *known* texts."""
        value = self.text()
        if value not in known:
            raise self.refusal(f"{value!r} is none of {', '.join(known)}")
        return value

    def whole(self, most: int) -> int:
        """Return a whole number from 0 to *most*."""
        node = self._node
        if not isinstance(node, yaml.ScalarNode) or not _WHOLE.fullmatch(node.value):
            raise self.refusal(f"must be a whole number from 0 to {most}")
        if int(node.value) > most:
            raise self.refusal(f"must be at most {most}")
        return int(node.value)

    def texts(self) -> list["Spot"]:
        """Return the members of a list, or the one value that stands for a list of one."""
        return self.items() if isinstance(self._node, yaml.SequenceNode) else [self]


def read_yaml(text: str, source: str) -> Spot:
    """Return the top of the one document in *text*; FileError also for anchors and aliases."""
    if len(text) > MAX_BYTES:
        raise FileError(source, 1, f"longer than {MAX_BYTES >> 20} MiB")
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            # An alias could stand for far more than the file shows.
            if isinstance(event, yaml.AliasEvent):
                mark = event.start_mark
                raise FileError(source, mark.line + 1 if mark else 1, "aliases are not allowed")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FileError(source, mark.line + 1 if mark else 1, f"{error.problem}") from None
    except yaml.YAMLError as error:
        raise FileError(source, 1, f"not YAML: {error}") from None
    if node is None:
        raise FileError(source, 1, "the file is empty")
    return Spot(node, source, "file")


def read_text(path: Path) -> str:
    """Return what *path* holds; FileError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(str(path), 1, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(str(path), 1, "is not UTF-8") from error
