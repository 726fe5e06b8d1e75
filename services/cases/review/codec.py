"""Events of reviews as they are stored; the same rules as `services.cases.codec`."""

from collections.abc import Mapping
from typing import Final, get_args

from services.cases.codec import Stored, decode_as
from services.cases.review.domain.events import ReviewEvent
from services.cases.sealing.box import Keys

__all__ = ["REVIEW_TYPES", "decode_review"]

REVIEW_TYPES: Final[Mapping[str, type[ReviewEvent]]] = {
    f"{cls.__name__}.v1": cls for cls in get_args(ReviewEvent)
}


def decode_review(stored: Stored, keys: Keys) -> ReviewEvent:
    """Return the event that was stored; UnknownEventError for a type or schema from the future."""
    return decode_as(REVIEW_TYPES, stored, keys)
