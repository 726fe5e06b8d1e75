"""An incident to take away: events, proofs, checkpoint, key, and the program that checks them."""

import base64
import inspect
import io
import json
import zipfile
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.ledger import verifier
from services.cases.ledger.checkpoints import Checkpointer, driver_of, newest_note
from services.cases.ledger.leaf import LEAF_COLUMNS, leaf_text
from services.cases.ledger.tree import LedgerError, StoredTree
from services.cases.ledger.verifier import open_note, parse_checkpoint, statement_text

__all__ = ["export"]

_STREAM = (
    f"SELECT {LEAF_COLUMNS} FROM events WHERE stream_id = $1 AND position <= $2"  # noqa: S608 - constants only
    " ORDER BY version"
)
_LAST = "SELECT max(position) FROM events WHERE stream_id = $1"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content, the same bytes


async def export(
    engine: AsyncEngine, checkpointer: Checkpointer, incident_id: UUID
) -> bytes | None:
    """Return the bundle of an incident as a zip file, None if there is no such incident."""
    signer = checkpointer.signer
    if signer is None:
        raise LedgerError("there is no key to sign a bundle with")
    async with driver_of(engine) as driver:
        last = await driver.fetchval(_LAST, incident_id)
    if last is None:
        return None
    await checkpointer.sign_now(last)
    newest = await newest_note(engine)
    if newest is None:
        raise LedgerError("the checkpoint that was signed is gone")
    note = newest[1]
    checkpoint = parse_checkpoint(open_note(note, signer.public))
    async with driver_of(engine) as driver:
        rows = await driver.fetch(_STREAM, incident_id, checkpoint.size)
        tree = StoredTree(driver)
        proofs = [await tree.inclusion(row["position"], checkpoint.size) for row in rows]
    events = "".join(f"{leaf_text(row)}\n" for row in rows).encode()
    statement = statement_text(
        checkpoint.origin,
        str(incident_id),
        len(rows),
        checkpoint.size,
        checkpoint.root,
        events,
    )
    encoded = [[base64.b64encode(digest).decode() for digest in path] for path in proofs]
    return _zipped(
        {
            "events.jsonl": events,
            "proofs.json": json.dumps(encoded).encode(),
            "checkpoint.txt": note.encode(),
            "statement.txt": signer.sign(statement).encode(),
            "key.txt": f"{signer.public}\n".encode(),
            "verify.py": inspect.getsource(verifier).encode(),
        }
    )


def _zipped(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return whole.getvalue()
