"""Rows of evidence, written in the projector's own transaction, under its one cursor."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from services.cases.evidence.view import (
    Document,
    custody_entry,
    item_of,
    project_evidence,
)
from services.cases.store import RecordedEvidence

__all__ = ["EvidenceBatch", "EvidenceRows"]

_LOAD = "SELECT evidence_id, document FROM evidence WHERE evidence_id = ANY($1)"
_SAVE = (
    "INSERT INTO evidence (evidence_id, incident_id, registered_position, state, sha256,"
    " declared_sha256, verified_at, frozen, document)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    " ON CONFLICT (evidence_id) DO UPDATE SET state = excluded.state, sha256 = excluded.sha256,"
    " verified_at = excluded.verified_at, frozen = excluded.frozen, document = excluded.document"
)
_COLUMNS = (
    "evidence_id", "incident_id", "registered_position", "state", "sha256", "declared_sha256",
    "verified_at", "frozen", "document",
)  # fmt: skip
_CUSTODY_COLUMNS = ("position", "evidence_id", "version", "entry")
_CUSTODY = "INSERT INTO custody (position, evidence_id, version, entry) VALUES ($1, $2, $3, $4)"


def _json(document: Document) -> str:
    return msgspec.json.encode(document, order="sorted").decode()


@dataclass(slots=True)
class EvidenceBatch:
    """The rows that a run of events touches."""

    documents: dict[UUID, Document] = field(default_factory=dict)
    entries: list[tuple[int, UUID, int, str]] = field(default_factory=list)

    async def apply(self, driver: Any, events: Sequence[RecordedEvidence]) -> None:
        """Project *events* in the caller's transaction."""
        if not events:
            return
        for row in await driver.fetch(_LOAD, list({r.stream_id for r in events})):
            self.documents[row["evidence_id"]] = json.loads(row["document"])
        registered: dict[UUID, int] = {}
        for r in events:
            registered.setdefault(r.stream_id, r.position)
            self.documents[r.stream_id] = project_evidence(self.documents.get(r.stream_id), r)
            self.entries.append((r.position, r.stream_id, r.version, _json(custody_entry(r))))
        await driver.executemany(
            _SAVE, [_row(key, registered[key], self.documents[key]) for key in registered]
        )
        await driver.executemany(_CUSTODY, self.entries)


@dataclass(slots=True)
class EvidenceRows:
    """Rows of items whose events come one item after the other: each item is written once."""

    entries: list[tuple[int, UUID, int, str]] = field(default_factory=list)
    items: dict[UUID, tuple[int, Document]] = field(default_factory=dict)

    def take(self, r: RecordedEvidence) -> None:
        """Take in the next event of an item, or the first one of another item."""
        position, document = self.items.get(r.stream_id, (r.position, None))
        self.items[r.stream_id] = position, project_evidence(document, r)
        self.entries.append((r.position, r.stream_id, r.version, _json(custody_entry(r))))

    def add(self, others: "EvidenceRows") -> None:
        """Take over the rows of *others*, which are of other items."""
        self.entries += others.entries
        self.items |= others.items

    def tables(self) -> Iterator[tuple[str, Sequence[str], Sequence[tuple[Any, ...]]]]:
        """Yield table, columns and rows, to be copied."""
        rows = [_row(key, position, document) for key, (position, document) in self.items.items()]
        yield "evidence", _COLUMNS, rows
        yield "custody", _CUSTODY_COLUMNS, self.entries


def _row(key: UUID, position: int, document: Document) -> tuple[Any, ...]:
    item = item_of(document)
    return (
        key,
        item.incident_id,
        position,  # kept only when the row is new
        item.state.value,
        item.sha256,
        item.declared_sha256,
        item.verified_at,
        item.frozen,
        _json(document),
    )
