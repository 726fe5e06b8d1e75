"""Bounded memory of what was worked out before: by number of entries and by their text."""

from typing import Generic, TypeVar

__all__ = ["Memo"]

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V], Generic[K, V]):
    """A dictionary that forgets everything when full; what is too long is not kept at all."""

    __slots__ = ("_entries", "_longest", "_room", "_used")

    def __init__(self, entries: int, room: int, longest: int) -> None:
        super().__init__()
        self._entries, self._room, self._longest = entries, room, longest
        self._used = 0

    def keep(self, key: K, value: V, size: int) -> None:
        """Remember *value*; *size* is about how many characters *key* holds."""
        if size > self._longest:
            return
        self._used += size
        if len(self) >= self._entries or self._used > self._room:
            self.clear()
            self._used = size
        self[key] = value
