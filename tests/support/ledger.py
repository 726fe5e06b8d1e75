"""A log with a signing key, for tests."""

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.ledger.checkpoints import Checkpointer
from services.cases.ledger.keys import Signer, load_signer
from services.cases.postgres import PostgresStore
from services.cases.sealing.kek import Keks
from services.cases.sealing.vault import Vault
from shared.ids import uuid7
from tests.support.incidents import story
from tests.support.world import World
from tocsin.case_keys import new_log_key

__all__ = ["ORIGIN", "checkpointer", "key_path", "new_signer", "write"]

_KEK = bytes(32)  # one for all: a database may be opened again
ORIGIN = "tocsin/cases"


def key_path(folder: Path) -> Path:
    """Return the file of a new key in *folder*."""
    path = folder / "log.key"
    path.write_text(new_log_key())
    return path


def new_signer(folder: Path, origin: str = ORIGIN) -> Signer:
    return load_signer(origin, key_path(folder))


def checkpointer(world: World, signer: Signer) -> Checkpointer:
    """Return one that signs whenever it is asked."""
    return Checkpointer(world.engine("cases"), signer, 1e-9)


def new_vault(engine: AsyncEngine) -> Vault:
    """Return the vault of a database that nobody else seals in."""
    return Vault(engine, Keks([_KEK]))


async def write(world: World, incidents: int = 1) -> int:
    """Append *incidents* whole stories; return the log's last position."""
    store, position = PostgresStore(world.engine("cases"), world.vault), 0
    for _ in range(incidents):
        appended = await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
        position = appended.last_position
    return position
