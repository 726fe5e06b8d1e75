"""What a scan's processes are given, and what they give back."""

from dataclasses import dataclass

from services.detect.correlation.firing import Matched

__all__ = ["Done", "Hit", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """A part of a file. *form* is "lines" of JSON, "text" lines, JSON "documents", or "evtx".

    *start* counts records from 0; the body of "evtx" is empty: the whole file is one part.
    """

    file: str
    form: str
    start: int
    body: bytes
    position: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that a record fulfils, by the rule's position among those in force."""

    record: int
    rule: int
    time: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """What a part gave. *broken*: records that could not be read, the first few with why.

    *matches* are for correlations; *timeless* events matched but do not say when they happened.
    """

    file: str
    events: int
    hits: tuple[Hit, ...]
    broken: int
    reasons: tuple[str, ...]
    position: int = 0
    matches: tuple[Matched, ...] = ()
    timeless: int = 0
