"""W3C trace context (traceparent): carried from HTTP through the broker and back into logs."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["current_traceparent", "trace_id", "traced"]

_SHAPE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current_traceparent() -> str | None:
    """Return the traceparent of the work in hand, if there is one."""
    return _current.get()


def trace_id() -> str | None:
    """Return the 32 hex digits that join the logs of one flow."""
    parent = _current.get()
    return parent[3:35] if parent else None


@contextmanager
def traced(headers: Mapping[str, str]) -> Iterator[str]:
    """Go on with the trace in *headers*, or begin one where there is none that is well-formed."""
    match = _SHAPE.fullmatch(headers.get("traceparent", ""))
    trace = match[1] if match else secrets.token_hex(16)
    parent = f"00-{trace}-{secrets.token_hex(8)}-01"
    token = _current.set(parent)
    try:
        yield parent
    finally:
        _current.reset(token)
