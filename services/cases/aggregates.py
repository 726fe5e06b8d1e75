"""The aggregates of the one log: the type's name says of which one an event is."""

from collections.abc import Mapping
from typing import Any, Final

from services.cases.codec import EVENT_TYPES, SCHEMA, Encoded, Plain
from services.cases.evidence.codec import EVIDENCE_TYPES
from services.cases.ledger.canonical import canonical
from services.cases.review.codec import REVIEW_TYPES

__all__ = ["ALL_TYPES", "id_name", "name_of", "stored_form"]

ALL_TYPES: Final[Mapping[str, type[Any]]] = {**EVENT_TYPES, **EVIDENCE_TYPES, **REVIEW_TYPES}
_NAMES: Mapping[type, str] = {cls: name for name, cls in ALL_TYPES.items()}


def id_name(type_: str) -> str:
    """Return the name of the id of the aggregate that an event of *type_* belongs to."""
    if type_ in EVIDENCE_TYPES:
        return "evidence_id"
    return "review_id" if type_ in REVIEW_TYPES else "incident_id"


def name_of(event: object) -> str:
    """Return the type's name under which *event* is stored."""
    return _NAMES[type(event)]


def stored_form(event: object, plain: Plain) -> Encoded:
    """Return *event* as it is stored; *plain* is its JSON, what is personal put away."""
    return Encoded(name_of(event), SCHEMA, canonical(plain))
