"""One field of an event and its literals, with a memory of the values that were seen."""

from collections.abc import Mapping
from typing import Any

from services.detect.engine.field_index import FieldIndex
from services.detect.engine.memo import Memo
from services.detect.rules.fields import Aliases, View

__all__ = ["RememberedField"]

_ABSENT: Any = object()
_ROOM, _LONGEST = 2 << 20, 4096


class RememberedField:
    """Bits of a field's literals, worked out once for each value that comes again."""

    __slots__ = ("_absent", "_aliases", "_index", "memo", "name")

    def __init__(self, index: FieldIndex, aliases: Aliases, entries: int) -> None:
        self.name = index.name
        self.memo: Memo[Any, int] = Memo(entries, _ROOM, _LONGEST)
        self._index = index
        self._aliases = aliases
        # A name of one piece and without others is absent where its key is.
        plain = self.name not in aliases and "." not in self.name
        self._absent = index.bits(None) if plain else None

    def bits(self, fields: Mapping[str, Any]) -> int:
        """Return the bits of the literals that hold for the event of *fields*."""
        value = fields.get(self.name, _ABSENT)
        kind = type(value)
        if kind is str:
            bits = self.memo.get(value)
            if bits is None:
                bits = self._index.of_text(value)
                self.memo.keep(value, bits, len(value))
            return bits
        if kind is int:
            key = (value,)  # no text equals a tuple, and no truth value gets here
            bits = self.memo.get(key)
            if bits is None:
                bits = self._index.bits(key)
                self.memo.keep(key, bits, 8)
            return bits
        if value is _ABSENT and self._absent is not None:
            return self._absent
        return self._index.bits(View(fields, self._aliases).values[self.name])
