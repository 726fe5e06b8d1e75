"""Events of reviews as they are stored; the same rules as `services.cases.codec`."""

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from services.cases.codec import SCHEMA, Encoded, UnknownEventError
from services.cases.ledger.canonical import canonical
from services.cases.review.domain.events import ReviewEvent

__all__ = ["REVIEW_TYPES", "decode_review", "encode_review"]

REVIEW_TYPES: Final[Mapping[str, type[ReviewEvent]]] = {
    f"{cls.__name__}.v1": cls for cls in get_args(ReviewEvent)
}
_NAMES: Mapping[type, str] = {cls: name for name, cls in REVIEW_TYPES.items()}


def encode_review(event: ReviewEvent) -> Encoded:
    """Return *event* as it is stored."""
    plain = msgspec.json.decode(msgspec.json.encode(event))
    return Encoded(_NAMES[type(event)], SCHEMA, canonical(plain))


def decode_review(type_: str, schema: int, data: str) -> ReviewEvent:
    """Return the event that was stored; UnknownEventError for a type or schema from the future."""
    cls = REVIEW_TYPES.get(type_)
    if cls is None or schema != SCHEMA:
        raise UnknownEventError(f"{type_} schema {schema} is not known to this program")
    try:
        return msgspec.json.decode(data, type=cls)
    except msgspec.ValidationError as error:
        raise UnknownEventError(f"{type_} schema {schema}: {error}") from error
