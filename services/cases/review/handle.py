"""A command to a review."""

from collections.abc import Callable, Sequence
from uuid import UUID

from services.cases.once import Done, do_once
from services.cases.review.domain.commands import ReviewCommand
from services.cases.review.domain.decide import decide
from services.cases.review.domain.events import ReviewEvent
from services.cases.review.domain.review import Review, fold
from services.cases.store import EventStore

__all__ = ["UnknownReviewError", "change"]


class UnknownReviewError(Exception):
    """There is no review of that id."""


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
) -> Done:
    """Do *command*, as `do_once` does; UnknownReviewError unless it *begins* one."""

    async def read() -> tuple[Review, int]:
        history = await store.read_review(review_id)
        if not history.version and not begins:
            raise UnknownReviewError(str(review_id))
        return fold(history.events), history.version

    async def decided(review: Review) -> Sequence[ReviewEvent]:
        return decide(review, command)

    return await do_once(
        store,
        review_id,
        read,
        decided,
        command_id=command_id,
        digest=digest,
        expected=expected,
        noticed=noticed,
    )
