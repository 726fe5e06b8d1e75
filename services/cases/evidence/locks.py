"""How a bucket is to hold on to what is put into it: a lock from the first moment on.

Pure. The lock is a second wall: that nothing is disposed of under a hold or before its retention
has ended is decided in `domain/`; the bucket refuses it also to whoever has its credentials.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.cases.evidence.domain.item import Item

__all__ = ["Lock", "LockMode", "bucket_problem", "wanted"]


def _second(at: datetime) -> datetime:
    """Return *at* as S3 writes it, so that what was set compares with what is read."""
    return at.replace(microsecond=0)


class LockMode(StrEnum):
    """COMPLIANCE binds everybody; GOVERNANCE lets a special right break it; NONE locks nothing."""

    COMPLIANCE = "compliance"
    GOVERNANCE = "governance"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``days`` count from the upload, until a retention is set."""

    mode: LockMode = LockMode.COMPLIANCE
    days: float = 30.0

    @property
    def locks(self) -> bool:
        return self.mode is not LockMode.NONE

    def at_upload(self, now: datetime) -> dict[str, Any]:
        """Return what an upload says of its own lock."""
        if not self.locks:
            return {}
        return {
            "ObjectLockMode": self.mode.value.upper(),
            "ObjectLockRetainUntilDate": _second(now + timedelta(days=self.days)),
        }

    def extended(
        self, present: datetime | None, wanted: datetime, now: datetime
    ) -> dict[str, Any] | None:
        """Return the retention to set; None if it is over, or lasts as long: it only grows."""
        if wanted <= now or (present is not None and present >= _second(wanted)):
            return None
        return {"Mode": self.mode.value.upper(), "RetainUntilDate": _second(wanted)}


def wanted(items: Iterable[Item]) -> tuple[datetime | None, bool]:
    """Return how long the bytes of *items* are to be locked at least, and whether one is held."""
    kept = [item for item in items if item.has_bytes]
    ends = [item.retention.until for item in kept if item.retention]
    return max(ends, default=None), any(item.holds for item in kept)


def bucket_problem(name: str, versioning: str | None, locking: str | None, lock: Lock) -> str:
    """Return what is wrong with a bucket in a sentence, or nothing."""
    if versioning != "Enabled":
        return f"the bucket {name} keeps no versions: evidence could be overwritten"
    if lock.locks and locking != "Enabled":
        return (
            f"the bucket {name} has no object lock; make one that has,"
            " or set TOCSIN_CASES_EVIDENCE_LOCK=none"
        )
    return ""
