"""The shell of a review: `append_once` for a review, and what it came to."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.cases.once import append_once
from services.cases.review.domain.commands import ReviewCommand
from services.cases.review.domain.decide import decide
from services.cases.review.domain.review import Review, fold
from services.cases.store import EventStore

__all__ = ["Changed", "UnknownReviewError", "change"]


class UnknownReviewError(Exception):
    """There is no review of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a command came to; ``events`` are type names without their version."""

    review_id: UUID
    version: int
    position: int
    events: tuple[str, ...]


async def change(
    store: EventStore,
    review_id: UUID,
    command: ReviewCommand,
    *,
    command_id: UUID,
    digest: str,
    expected: int | None = None,
    begins: bool = False,
    noticed: Callable[[], None] = lambda: None,
) -> Changed:
    """Do *command*, once for each *command_id*; *noticed* is called after the commit.

    NotAllowed when a rule refuses, UnknownReviewError unless it *begins* one, VersionConflict when
    it is not at *expected*, or, without one, after every race was lost.
    """

    async def read() -> tuple[Review, int]:
        history = await store.read_review(review_id)
        if not history.version and not begins:
            raise UnknownReviewError(str(review_id))
        return fold(history.events), history.version

    appended = await append_once(
        store,
        review_id,
        read,
        lambda review: decide(review, command),
        command_id=command_id,
        digest=digest,
        expected=expected,
        noticed=noticed,
    )
    types = await store.types(appended.stream_id, appended.first_version, appended.last_version)
    return Changed(
        review_id=appended.stream_id,
        version=appended.last_version,
        position=appended.last_position,
        events=tuple(name.removesuffix(".v1") for name in types),
    )
