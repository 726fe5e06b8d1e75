"""The log's signing key is handed over: the old one vouches for the new, and signs no more.

The note says up to which size the old key signed, and bears both signatures. It is written under
the lock under which checkpoints are signed, so a replica that still has the old key finds it before
it could sign beyond; whoever has pinned either key can follow the chain to the other.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.ledger.checkpoints import LOCK, driver_of, ring_in
from services.cases.ledger.keys import Signer
from services.cases.ledger.tree import LedgerError
from services.cases.ledger.verifier import Handover, VerifyKey

__all__ = ["hand_over"]

_NEWEST = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1"
_SAVE = (
    "INSERT INTO log_handovers (number, note)"
    " SELECT coalesce(max(number), 0) + 1, $1 FROM log_handovers"
)


async def hand_over(engine: AsyncEngine, old: Signer, new: Signer) -> VerifyKey:
    """Make *new* the log's key; return it. Again is nothing.

    LedgerError when *old* is not the key that signs the log now, TamperedError when the newest
    checkpoint or an earlier handover is not what was signed.
    """
    if old.origin != new.origin or old.public == new.public:
        raise LedgerError("a key is handed over to another one, of the same log")
    async with driver_of(engine) as driver, driver.transaction():
        await driver.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        ring = await ring_in(driver, old.public)
        if ring.keys[-1] == new.public:
            return new.public
        if ring.keys[-1] != old.public:
            raise LedgerError(f"the log is signed by {ring.keys[-1].id.hex()}, not by this key")
        row = await driver.fetchrow(_NEWEST)
        size = ring.open_checkpoint(row["note"]).size if row else 0
        text = Handover(old.origin, size, old.public, new.public).text()
        await driver.execute(_SAVE, old.sign(text) + new.signature(text))
    return new.public
