"""Events of evidence as they are stored; the same rules as `services.cases.codec`.

One log, three aggregates: the type's name tells them apart, and a test keeps the names disjoint.
"""

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from services.cases.codec import SCHEMA, Encoded, UnknownEventError
from services.cases.codec import encode as encode_incident
from services.cases.domain.events import Event
from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.review.codec import encode_review
from services.cases.review.domain.events import ReviewEvent

__all__ = ["EVIDENCE_TYPES", "decode_evidence", "encode_any", "encode_evidence"]

EVIDENCE_TYPES: Final[Mapping[str, type[EvidenceEvent]]] = {
    f"{cls.__name__}.v1": cls for cls in get_args(EvidenceEvent)
}
_NAMES: Mapping[type, str] = {cls: name for name, cls in EVIDENCE_TYPES.items()}
_encoder = msgspec.json.Encoder(order="sorted")


def encode_evidence(event: EvidenceEvent) -> Encoded:
    """Return *event* as it is stored."""
    return Encoded(_NAMES[type(event)], SCHEMA, _encoder.encode(event).decode())


def encode_any(event: Event | EvidenceEvent | ReviewEvent) -> Encoded:
    """Return *event* of any aggregate as it is stored."""
    if isinstance(event, EvidenceEvent):
        return encode_evidence(event)
    if isinstance(event, ReviewEvent):
        return encode_review(event)
    return encode_incident(event)


def decode_evidence(type_: str, schema: int, data: str) -> EvidenceEvent:
    """Return the event that was stored; UnknownEventError for a type or schema from the future."""
    cls = EVIDENCE_TYPES.get(type_)
    if cls is None or schema != SCHEMA:
        raise UnknownEventError(f"{type_} schema {schema} is not known to this program")
    try:
        return msgspec.json.decode(data, type=cls)
    except msgspec.ValidationError as error:
        raise UnknownEventError(f"{type_} schema {schema}: {error}") from error
