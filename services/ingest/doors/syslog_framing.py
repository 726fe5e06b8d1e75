"""Where syslog messages begin and end in a stream: octet counting and newlines (RFC 6587).

Both may follow one another on one connection, so each message tells for itself: digits and a space
announce a count (RFC 5425, §4.3), anything else ends at a line feed or a NUL.
"""

import re

__all__ = ["Framer", "FramingError"]

MAX_FRAME = 1 << 20

_COUNT = re.compile(rb"([1-9][0-9]{0,8}) ")
_END = re.compile(rb"[\n\0]")


class FramingError(Exception):
    """A count that nobody can mean: what follows cannot be told apart, so the stream ends."""


class Framer:
    """Cuts a stream into messages. Holds at most one unfinished message of *max_frame* bytes."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._rest = b""
        self._max = max_frame

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that *data* completes, without their ends; empty ones are skipped.

        A line that grows beyond the bound comes in pieces. FramingError for a count beyond it.
        """
        buffer = self._rest + data if self._rest else data
        position, frames = 0, []
        while position < len(buffer):
            if count := _COUNT.match(buffer, position):
                size = int(count[1])
                if size > self._max:
                    raise FramingError(f"a message of {size} bytes; at most {self._max}")
                if count.end() + size > len(buffer):
                    break
                frames.append(buffer[count.end() : count.end() + size])
                position = count.end() + size
            elif end := _END.search(buffer, position):
                frames.append(buffer[position : end.start()])
                position = end.end()
            elif len(buffer) - position > self._max:
                frames.append(buffer[position : position + self._max])
                position += self._max
            else:
                break
        self._rest = buffer[position:]
        return [trimmed for frame in frames if (trimmed := frame.strip(b"\r\n\0"))]

    def end(self) -> list[bytes]:
        """Return the last message of a stream that was closed without ending it."""
        rest = _COUNT.sub(b"", self._rest, 1) if _COUNT.match(self._rest) else self._rest
        self._rest = b""
        return [trimmed] if (trimmed := rest.strip(b"\r\n\0")) else []
