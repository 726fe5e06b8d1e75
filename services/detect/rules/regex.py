"""Regular expressions in linear time and bounded memory: RE2 behind the one question we ask."""

from collections.abc import Sequence

import re2

MAX_PATTERN = 2 * 1024
MAX_MEMORY = 8 * 1024 * 1024


class RegexError(ValueError):
    """The expression is too long, too large, or uses what RE2 does not know."""


class Regex:
    """A compiled expression; matching it cannot fail and takes time linear in the text."""

    __slots__ = ("_compiled", "source")

    def __init__(self, source: str) -> None:
        if len(source.encode("utf-8", "replace")) > MAX_PATTERN:
            raise RegexError(f"regular expression is longer than {MAX_PATTERN} bytes")
        options = re2.Options()
        options.max_mem = MAX_MEMORY
        options.log_errors = False
        options.never_capture = True
        try:
            self._compiled = re2.compile(source, options)
        except re2.error as error:
            reason = error.args[0] if error.args else "not accepted"
            if isinstance(reason, bytes):
                reason = reason.decode("utf-8", "replace")
            raise RegexError(f"regular expression refused by RE2: {reason}") from None
        self.source = source

    @property
    def size(self) -> int:
        """Return how many instructions RE2 needs for it."""
        return int(self._compiled.programsize)

    def search(self, text: str) -> bool:
        """Return whether the expression is found anywhere in *text*."""
        # Bytes spare the wrapper its offset arithmetic, and half a surrogate pair is no error.
        return self._compiled.search(text.encode("utf-8", "replace")) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regex) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"Regex({self.source!r})"


class Together:
    """Several expressions, searched for in one pass over a text."""

    __slots__ = ("_each", "_set")

    def __init__(self, each: Sequence[Regex]) -> None:
        self._each = tuple(each)
        options = re2.Options()
        options.max_mem = MAX_MEMORY
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for regex in self._each:
            self._set.Add(regex.source)
        # RE2 does not say when memory is too little to search for all at once. It then finds
        # nothing, not even this.
        self._set.Add("")
        self._set.Compile()

    def search(self, text: str) -> frozenset[int]:
        """Return which expressions, by their number, are found anywhere in *text*."""
        found = frozenset(self._set.Match(text.encode("utf-8", "replace")) or ())
        if len(self._each) in found:
            return found
        return frozenset(at for at, regex in enumerate(self._each) if regex.search(text))


def literally(text: str) -> str:
    """Return the expression that finds *text* itself."""
    quoted: str = re2.escape(text)
    return quoted
