"""Values for `%placeholders%` of rules (modifier `expand`), from files that lie beside them."""

from collections.abc import Iterable
from pathlib import Path

from .model import RefusedError, RuleError
from .values import Placeholders
from .yaml_tree import MAX_BYTES, Listing, Scalar, Table, Tree, documents

__all__ = ["FILE", "read_placeholders"]

FILE = "placeholders.yml"


def read_placeholders(paths: Iterable[Path]) -> tuple[Placeholders, tuple[RuleError, ...]]:
    """Return the values that the files *paths* give names, and why a file gives none.

    A file is a map of names to a value or a list of values. The first file to give a name stands.
    """
    found: dict[str, tuple[str, ...]] = {}
    errors: list[RuleError] = []
    for path in paths:
        try:
            own = _read(path)
        except RefusedError as refusal:
            errors.append(RuleError(str(path), refusal.line, refusal.reason))
        else:
            found = {**own, **found}
    return found, tuple(errors)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        trees = list(documents(content.decode("utf-8-sig")))
    except OSError as error:
        raise RefusedError(1, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RefusedError(1, "not UTF-8 text") from None
    own: dict[str, tuple[str, ...]] = {}
    for tree in trees:
        if isinstance(tree, RefusedError):
            raise tree
        if not isinstance(tree, Table):
            raise RefusedError(tree.line, "placeholders are a map of names to values")
        for name, value in tree.entries.items():
            own[name] = _values(name, value)
    return own


def _values(name: str, tree: Tree) -> tuple[str, ...]:
    items = tree.items if isinstance(tree, Listing) else (tree,)
    values = tuple(
        item.text for item in items if isinstance(item, Scalar) and item.value is not None
    )
    if not values or len(values) != len(items):
        raise RefusedError(tree.line, f"placeholder {name!r} needs a value, or a list of values")
    return values
