"""Rows of reviews, written in the projector's own transaction, under its one cursor."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.cases.domain.events import ReviewStarted
from services.cases.review.view import Document, project_review, started
from services.cases.store import Recorded, RecordedReview
from shared.ids import derived_id

__all__ = ["ReviewBatch"]

_LOAD = "SELECT review_id, document FROM reviews WHERE review_id = ANY($1)"
_STARTED = (
    "INSERT INTO reviews (review_id, incident_id, started_position, version, state, document)"
    " VALUES ($1, $2, $3, 0, 'started', $4) ON CONFLICT (review_id) DO NOTHING"
)
_SAVE = "UPDATE reviews SET version = $2, state = $3, document = $4 WHERE review_id = $1"
_ITEM = (
    "INSERT INTO improvement_items (item_id, review_id, incident_id, created_position, owner, due,"
    " target, done, document) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    " ON CONFLICT (item_id) DO UPDATE SET owner = excluded.owner, due = excluded.due,"
    " done = excluded.done, document = excluded.document"
)


def _json(document: Document) -> str:
    return msgspec.json.encode(document, order="sorted").decode()


@dataclass(slots=True)
class ReviewBatch:
    """The rows that a run of events touches."""

    documents: dict[UUID, Document] = field(default_factory=dict)

    async def apply(
        self, driver: Any, incidents: Sequence[Recorded], events: Sequence[RecordedReview]
    ) -> None:
        """Project reviews that began in the events of *incidents*, and *events* of reviews."""
        rows = list(_begun(incidents))
        if rows:
            await driver.executemany(_STARTED, rows)
        if not events:
            return
        for row in await driver.fetch(_LOAD, list({r.stream_id for r in events})):
            self.documents[row["review_id"]] = json.loads(row["document"])
        positions: dict[str, int] = {}
        for r in events:
            document = project_review(self.documents.get(r.stream_id), r)
            self.documents[r.stream_id] = document
            for item in document["improvement_items"]:
                positions.setdefault(item["item_id"], r.position)
        await driver.executemany(
            _SAVE,
            [
                (key, document["version"], document["state"], _json(document))
                for key, document in self.documents.items()
            ],
        )
        await driver.executemany(
            _ITEM,
            [
                _item(key, document, item, positions[item["item_id"]])
                for key, document in self.documents.items()
                for item in document["improvement_items"]
            ],
        )


def _begun(events: Sequence[Recorded]) -> Iterator[tuple[Any, ...]]:
    for r in events:
        if isinstance(r.event, ReviewStarted):
            key = r.event.review_id or derived_id("review", r.stream_id)
            document = started(str(key), str(r.stream_id))
            yield key, r.stream_id, r.position, _json(document)


def _item(review_id: UUID, document: Document, item: Document, position: int) -> tuple[Any, ...]:
    return (
        UUID(item["item_id"]),
        review_id,
        UUID(document["incident_id"]),
        position,  # kept only when the row is new
        item["owner"].replace("\0", " "),
        datetime.fromisoformat(item["due"]),
        item["target"],
        item["done"] is not None,
        _json(item),
    )
