"""The last requests that were turned away, for whoever asks why a shipper does not get through."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import Counter

__all__ = ["Refused", "RefusedLately"]

KEPT = 100

_refused = Counter("tocsin_ingest_refused_total", "Requests turned away", ["door", "code"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One refusal. The source is known only where its key was good."""

    at: str
    request_id: str
    door: str
    source_id: str | None
    peer: str
    status: int
    code: str
    detail: str


class RefusedLately:
    """The last 100 refusals of this process, newest first."""

    def __init__(self) -> None:
        self._last: deque[Refused] = deque(maxlen=KEPT)

    def note(self, refused: Refused) -> None:
        self._last.appendleft(refused)
        _refused.labels(refused.door, refused.code).inc()

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(refused) for refused in self._last]
