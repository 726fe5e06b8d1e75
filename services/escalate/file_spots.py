"""Files of policies and directories, read strictly: a refusal names place, line and reason."""

from collections.abc import Collection, Mapping
from pathlib import Path

from shared.errors import UserError
from shared.yaml_lines import LineError, Listing, Node, Scalar, Table, read

__all__ = ["FileError", "Spot", "read_spot", "read_text"]


class FileError(UserError):
    """The file cannot be taken; the message says where and why."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source}, line {line}: {reason}")
        self.line, self.reason = line, reason


class Spot:
    """A place in a file; reading something else there than is expected raises FileError."""

    def __init__(self, node: Node, source: str, what: str) -> None:
        self._node, self._source, self.what = node, source, what

    def refusal(self, reason: str) -> FileError:
        """Return the error that says *reason* of this place."""
        return FileError(self._source, self._node.line, f"{self.what or 'file'}: {reason}")

    def entries(self) -> Mapping[str, "Spot"]:
        """Return what stands under each key."""
        if not isinstance(self._node, Table):
            raise self.refusal("must be a table")
        for name in self._node.entries:
            if not name.strip() or not name.isprintable():
                raise self.refusal(f"key {name!r} is empty or not printable")
        return {
            name: Spot(node, self._source, f"{self.what}.{name}" if self.what else name)
            for name, node in self._node.entries.items()
        }

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
        if not isinstance(self._node, Listing):
            raise self.refusal("must be a list")
        return [
            Spot(node, self._source, f"{self.what}[{index}]")
            for index, node in enumerate(self._node.items)
        ]

    def text(self) -> str:
        """Return a text that is not empty; one that looks like a number must be in quotes."""
        value = self._node.value if isinstance(self._node, Scalar) else None
        if not isinstance(value, str):
            raise self.refusal("must be text (in quotes, if it looks like a number or a truth)")
        if not value.strip() or not value.isprintable():
            raise self.refusal("is empty or not printable")
        return value.strip()

    def one_of(self, known: Collection[str]) -> str:
        """Return one of the *known* texts."""
        value = self.text()
        if value not in known:
            raise self.refusal(f"{value!r} is none of {', '.join(known)}")
        return value

    def whole(self, most: int) -> int:
        """Return a whole number from 0 to *most*."""
        value = self._node.value if isinstance(self._node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.refusal(f"must be a whole number from 0 to {most}")
        return value

    def flag(self) -> bool:
        """Return true or false."""
        value = self._node.value if isinstance(self._node, Scalar) else None
        if not isinstance(value, bool):
            raise self.refusal("must be true or false")
        return value

    def is_table(self) -> bool:
        """Tell whether keys stand here."""
        return isinstance(self._node, Table)

    def texts(self) -> list["Spot"]:
        """Return the members of a list, or the one value that stands for a list of one."""
        return self.items() if isinstance(self._node, Listing) else [self]


def read_spot(text: str, source: str) -> Spot:
    """Return the top of the one document in *text*; FileError where it is no plain YAML."""
    try:
        return Spot(read(text), source, "")
    except LineError as error:
        raise FileError(source, error.line, error.why) from None


def read_text(path: Path) -> str:
    """Return what *path* holds; FileError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(str(path), 1, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(str(path), 1, "is not UTF-8") from error
