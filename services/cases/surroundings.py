"""Reads what stands beside an incident: its evidence and its review, for the guard of closing."""

from collections.abc import Sequence
from uuid import UUID

from fastapi import Request

from services.cases.domain.incident import fold
from services.cases.domain.values import Surroundings
from services.cases.evidence.domain.item import Item
from services.cases.evidence.domain.vocabulary import EvidenceState
from services.cases.evidence.view import item_of
from services.cases.review.domain.review import UNKNOWN
from services.cases.review.domain.review import fold as fold_review
from services.cases.review.domain.vocabulary import ReviewState
from services.cases.review.opener import review_of
from services.cases.store import EventStore
from services.cases.views import Document

__all__ = ["around_of", "surroundings"]

_WHOLE_LOG = 2**62


async def around_of(request: Request, incident_id: UUID) -> Surroundings:
    """Return what stands beside the incident now.

    Evidence is read from its view, which is first brought to the end of the log. An item that is
    announced while the incident is being closed belongs to a closed incident, as one announced a
    moment later does.
    """
    state = request.state
    await state.projector.reached(_WHOLE_LOG)
    documents = await state.evidence.queries.of_incident(incident_id)
    return await surroundings(state.store, documents, incident_id)


async def surroundings(
    store: EventStore, documents: Sequence[Document], incident_id: UUID
) -> Surroundings:
    """Return the surroundings that the log and the *documents* of evidence tell."""
    items = [(UUID(document["evidence_id"]), item_of(document)) for document in documents]
    # What was announced and never came is no evidence: there is nothing to secure.
    kept = [(key, item) for key, item in items if item.state is not EvidenceState.REGISTERED]
    incident = fold((await store.read(incident_id)).events)
    review = UNKNOWN
    if (review_id := review_of(incident_id, incident)) is not None:
        review = fold_review((await store.read_review(review_id)).events)
    return Surroundings(
        evidence_open=tuple((key, _lacks(item)) for key, item in kept if not item.secured),
        evidence_secured=sum(item.secured for _, item in kept),
        review="none" if review.state is ReviewState.UNKNOWN else review.state.value,
        covered=review.covered,
    )


def _lacks(item: Item) -> str:
    """Return what an item that is not secured lacks."""
    lacking = [
        *(["frozen since its integrity check failed"] if item.frozen else []),
        *(["not sealed"] if item.state is EvidenceState.COLLECTED else []),
        *(["no retention set"] if item.retention is None else []),
    ]
    return ", ".join(lacking)
