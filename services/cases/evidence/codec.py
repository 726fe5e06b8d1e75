"""Events of evidence as they are stored; the same rules as `services.cases.codec`.

One log, three aggregates: the type's name tells them apart, and a test keeps the names disjoint.
"""

from collections.abc import Mapping
from typing import Final, get_args

from services.cases.codec import Stored, decode_as
from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.sealing.box import Keys

__all__ = ["EVIDENCE_TYPES", "decode_evidence"]

EVIDENCE_TYPES: Final[Mapping[str, type[EvidenceEvent]]] = {
    f"{cls.__name__}.v1": cls for cls in get_args(EvidenceEvent)
}


def decode_evidence(stored: Stored, keys: Keys) -> EvidenceEvent:
    """Return the event that was stored; UnknownEventError for a type or schema from the future."""
    return decode_as(EVIDENCE_TYPES, stored, keys)
