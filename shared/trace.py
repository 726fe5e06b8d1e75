"""W3C trace context (traceparent): carried from HTTP through the broker and back into logs."""

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar, Token

__all__ = ["current_traceparent", "trace_id", "traced"]

_SHAPE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class _Flow:
    """A block of work in one trace. Its ids are drawn when they are asked for: few ever are."""

    __slots__ = ("_given", "_parent", "_token")

    def __init__(self, given: str | None) -> None:
        self._given = given
        self._parent: str | None = None

    def __enter__(self) -> None:
        self._token: Token[_Flow | None] = _current.set(self)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)

    @property
    def parent(self) -> str:
        if self._parent is None:
            match = _SHAPE.fullmatch(self._given or "")
            trace = match[1] if match else secrets.token_hex(16)
            self._parent = f"00-{trace}-{secrets.token_hex(8)}-01"
        return self._parent


_current: ContextVar[_Flow | None] = ContextVar("traceparent", default=None)


def current_traceparent() -> str | None:
    """Return the traceparent of the work in hand, if there is one."""
    flow = _current.get()
    return flow.parent if flow else None


def trace_id() -> str | None:
    """Return the 32 hex digits that join the logs of one flow."""
    parent = current_traceparent()
    return parent[3:35] if parent else None


def traced(headers: Mapping[str, str]) -> _Flow:
    """Go on, inside of the block, with the trace in *headers*; begin one where there is none that
    is well-formed."""
    return _Flow(headers.get("traceparent"))
