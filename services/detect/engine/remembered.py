"""One field of an event and its literals, with a memory of the values that were seen."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from services.detect.engine.field_index import FieldIndex
from services.detect.engine.memo import Memo
from services.detect.rules.fields import Aliases, View

__all__ = ["Kind", "RememberedField", "kinds"]

_ABSENT: Any = object()
_ROOM, _LONGEST = 2 << 20, 4096
_MAX_KINDS = 2_000
T = TypeVar("T")


class Kind:
    """All values of a field for which the same literals hold; the same only as itself."""

    __slots__ = ("bits",)

    def __init__(self, bits: int) -> None:
        self.bits = bits


def kinds() -> Callable[[int], Kind]:
    """Return what gives the kind of some bits: nearly always the same one for the same bits."""
    known: Memo[int, Kind] = Memo(_MAX_KINDS, _MAX_KINDS, 1)

    def kind(bits: int) -> Kind:
        found = known.get(bits)
        if found is None:
            found = Kind(bits)
            known.keep(bits, found, 1)
        return found

    return kind


class RememberedField(Generic[T]):
    """What the bits of a field's literals give, worked out once for each value that comes again."""

    __slots__ = ("_aliases", "_given", "_index", "_names", "absent", "memo", "name")

    def __init__(
        self, index: FieldIndex, aliases: Aliases, entries: int, given: Callable[[int], T]
    ) -> None:
        """Remember so many values of *index*'s field: what is *given* for their bits."""
        self.name = index.name
        self.memo: Memo[Any, T] = Memo(entries, _ROOM, _LONGEST)
        self._index = index
        self._aliases = aliases
        self._given = given
        names = (self.name, *aliases.get(self.name, ()))
        plain = not any("." in name for name in names)
        # Names of one piece are keys. What is a path must be looked for.
        self._names = names if plain else ()
        self.absent = given(index.bits(None))

    def of(self, fields: Mapping[str, Any]) -> T:
        """Return what is given for the literals that hold for the event of *fields*."""
        value: Any = None
        for name in self._names:
            value = fields.get(name, _ABSENT)
            if value is not _ABSENT:
                break
        else:
            if self._names:
                return self.absent
        kind = type(value)
        if kind is str:
            found = self.memo.get(value)
            if found is None:
                found = self._given(self._index.of_text(value))
                self.memo.keep(value, found, len(value))
            return found
        if kind is int:
            key = (value,)  # no text equals a tuple, and no truth value gets here
            found = self.memo.get(key)
            if found is None:
                found = self._given(self._index.bits(key))
                self.memo.keep(key, found, 8)
            return found
        return self._given(self._index.bits(View(fields, self._aliases).values[self.name]))
