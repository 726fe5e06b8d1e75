"""An incident to take away: everything that is needed to check it without us, and the program.

Events of the incident and of its evidence with their proofs, the manifest and the custody reports
made of these very events, and on demand the bytes. A file's name is made of ids alone.
"""

import base64
import hashlib
import inspect
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.evidence.report import certificate, custody_report, manifest
from services.cases.evidence.store import EvidenceStore, StoreError
from services.cases.evidence.view import Document, custody_entry, project_evidence
from services.cases.ledger import verifier
from services.cases.ledger.checkpoints import Checkpointer, driver_of, handovers, newest_note
from services.cases.ledger.leaf import LEAF_COLUMNS, leaf_text
from services.cases.ledger.procedure import PROCEDURE
from services.cases.ledger.tree import LedgerError, StoredTree
from services.cases.ledger.verifier import Statement, ring_of
from services.cases.ledger.zip_stream import ZipStream
from services.cases.postgres import keys_for, opened
from services.cases.sealing.box import box_keys
from services.cases.sealing.vault import Vault
from services.cases.store import AnyRecorded, RecordedEvidence

__all__ = ["Bundle", "export"]

_STREAM = (
    f"SELECT {LEAF_COLUMNS} FROM events WHERE stream_id = $1 AND position <= $2"  # noqa: S608 - constants only
    " ORDER BY version"
)
_LAST = "SELECT max(position) FROM events WHERE stream_id = ANY($1)"


@dataclass(frozen=True, slots=True)
class Bytes:
    """An item's bytes, as the log says that they are."""

    evidence_id: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        return f"evidence/{self.evidence_id}.bin"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What goes into the file; the bytes are read while it is sent."""

    files: dict[str, bytes]
    evidence: Sequence[Bytes]

    async def chunks(self, blobs: EvidenceStore | None) -> AsyncIterator[bytes]:
        """Yield the zip file. It breaks off, unreadable, if bytes are not what was collected."""
        whole = ZipStream()
        for name, content in self.files.items():
            yield whole.file(name, content)
        for item in self.evidence:
            if blobs is None:
                raise StoreError("there is no evidence store")
            async with blobs.open(item.sha256) as reading:
                if await reading.digest() != item.sha256:
                    raise StoreError(f"the bytes of {item.evidence_id} are not what was collected")
                async for chunk in whole.stream(item.name, _hashed(reading.chunks(), item.sha256)):
                    yield chunk
        yield whole.end()


async def _hashed(chunks: AsyncIterator[bytes], sha256: str) -> AsyncIterator[bytes]:
    found = hashlib.sha256()
    async for chunk in chunks:
        found.update(chunk)
        yield chunk
    if found.hexdigest() != sha256:
        raise StoreError("bytes changed while they were sent")


async def export(
    engine: AsyncEngine,
    vault: Vault,
    checkpointer: Checkpointer,
    incident_id: UUID,
    items: Sequence[UUID],
    *,
    with_bytes: Collection[UUID],
    now: datetime,
) -> Bundle | None:
    """Return the bundle of an incident and its *items*, None if there is no such incident.

    The bytes of those *with_bytes* go along, if they are still there.
    """
    signer = checkpointer.signer
    if signer is None:
        raise LedgerError("there is no key to sign a bundle with")
    async with driver_of(engine) as driver:
        if await driver.fetchval(_LAST, [incident_id]) is None:
            return None
        last = await driver.fetchval(_LAST, [incident_id, *items])
    await checkpointer.sign_now(last)
    newest = await newest_note(engine)
    if newest is None:
        raise LedgerError("the checkpoint that was signed is gone")
    note = newest[1]
    async with driver_of(engine) as driver:
        handed_over = await handovers(driver)
        checkpoint = ring_of(signer.public, handed_over).open_checkpoint(note)
        streams = [
            (stream, await driver.fetch(_STREAM, stream, checkpoint.size))
            for stream in (incident_id, *items)
        ]
        tree = StoredTree(driver)
        proofs = [
            [base64.b64encode(d).decode() for d in await tree.inclusion(r["position"], newest[0])]
            for _, rows in streams
            for r in rows
        ]
    openings = await _openings(vault, [r for _, rows in streams for r in rows])
    chains = [(stream, await opened(vault, rows)) for stream, rows in streams[1:]]
    files, evidence = _evidence_files(str(incident_id), chains, now)
    files = {
        "README.txt": PROCEDURE.encode(),
        "verify.py": inspect.getsource(verifier).encode(),
        "events.jsonl": "".join(f"{leaf_text(r)}\n" for _, rows in streams for r in rows).encode(),
        "proofs.json": msgspec.json.encode(proofs),
        "openings.json": msgspec.json.encode(openings),
        **files,
    }
    evidence = [item for item in evidence if UUID(item.evidence_id) in with_bytes]
    statement = Statement(
        checkpoint.origin,
        str(incident_id),
        checkpoint.size,
        checkpoint.root,
        tuple((str(stream), len(rows)) for stream, rows in streams if rows),
        (
            *((name, len(b), hashlib.sha256(b).hexdigest()) for name, b in files.items()),
            *((item.name, item.size, item.sha256) for item in evidence),
        ),
    )
    signed = {
        "key.txt": f"{signer.public}\n".encode(),
        "checkpoint.txt": note.encode(),
        "statement.txt": signer.sign(statement.text()).encode(),
    }
    if handed_over:
        signed["handovers.json"] = msgspec.json.encode(handed_over)
    return Bundle({**files, **signed}, evidence)


async def _openings(vault: Vault, rows: Sequence[Any]) -> list[list[str | None]]:
    """Return for each event the keys of its boxes, one by one: of no other event, nor of later."""
    keys = await keys_for(vault, rows)
    return [
        [
            None if key is None else base64.b64encode(key).decode()
            for key in box_keys(
                msgspec.json.decode(r["data"]), (r["stream_id"], r["event_id"], r["type"]), keys
            )
        ]
        for r in rows
    ]


def _evidence_files(
    incident: str, streams: Sequence[tuple[UUID, Sequence[AnyRecorded]]], now: datetime
) -> tuple[dict[str, bytes], list[Bytes]]:
    """Return manifest, custody reports and certificates, and the bytes that ought to be there.

    Made of the events that the bundle proves, so that nobody has to believe our views.
    """
    documents: list[Document] = []
    chains: dict[str, list[Document]] = {}
    for stream, events in streams:
        document: Document | None = None
        for each in events:
            if isinstance(each, RecordedEvidence):
                document = project_evidence(document, each)
                chains.setdefault(str(stream), []).append(custody_entry(each))
        if document is not None:
            documents.append(document)
    files = {"manifest.json": _json(manifest(incident, documents, chains, now))}
    evidence = []
    for document in documents:
        key, item = document["evidence_id"], document["item"]
        files[f"custody/{key}.json"] = _json(custody_report(document, chains[key], now))
        if item["sha256"] and item["state"] in ("collected", "sealed", "released"):
            files[f"certificates/{key}.txt"] = certificate(document, chains[key], now).encode()
            if not item["frozen"]:
                evidence.append(Bytes(key, item["sha256"], item["size"]))
    return files, evidence


def _json(document: Document) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2)
