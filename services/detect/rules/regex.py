"""Regular expressions in linear time and bounded memory: RE2 behind the one question we ask."""

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


def literally(text: str) -> str:
    """Return the expression that finds *text* itself."""
    quoted: str = re2.escape(text)
    return quoted
