"""`tocsin verify`: is the log what it was? Exit code 0 intact, 2 tampered with, 3 incomplete."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from services.cases.evidence.audit import audit_evidence
from services.cases.evidence.blob_keys import BlobKeys
from services.cases.evidence.store import EvidenceStore
from services.cases.evidence.store_local import LocalStore
from services.cases.evidence.store_sealed import SealedStore
from services.cases.evidence.wiring import evidence_store
from services.cases.ledger.keys import load_signer
from services.cases.ledger.reading import audit_database
from services.cases.ledger.verifier import (
    IncompleteError,
    TamperedError,
    VerifyKey,
    verify_bundle,
)
from services.cases.sealing.kek import Keks
from services.cases.settings import Settings
from shared.clock import utc_now
from shared.db import create_engine, plain_url
from shared.errors import UserError
from shared.settings import load_settings
from tocsin.case_keys import keks_of
from tocsin.home import Home

__all__ = ["INCOMPLETE", "INTACT", "TAMPERED", "Kept", "Outcome", "evidence_of", "judged",
           "log_key_of", "log_origin", "read_key", "verify_database", "verify_file"]  # fmt: skip

INTACT, TAMPERED, INCOMPLETE = 0, 2, 3
LOG_KEY = "cases.log-key"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code and the sentence that goes with it."""

    code: int
    sentence: str


async def judged(work: Callable[[], Awaitable[str]]) -> Outcome:
    """Run a check; return what it came to."""
    try:
        return Outcome(INTACT, f"intact: {await work()}")
    except TamperedError as error:
        where = "" if error.position is None else f" (first bad position: {error.position})"
        return Outcome(TAMPERED, f"TAMPERED: {error}{where}")
    except IncompleteError as error:
        return Outcome(INCOMPLETE, f"incomplete: {error}")


def log_origin() -> str:
    """Return the log's name: the one that is set, or the default."""
    default: str = Settings.model_fields["log_origin"].default
    return os.environ.get("TOCSIN_CASES_LOG_ORIGIN", default)


def log_key_of(home: Home) -> Path:
    """Return the file of the key that signs the log: the one that is set, or the home's own."""
    named = os.environ.get("TOCSIN_CASES_LOG_KEY_FILE")
    return Path(named) if named else home.secrets.path(LOG_KEY)


def read_key(text: str | None, home: Home) -> VerifyKey | None:
    """Return the key that was given as text or file, or the home's own."""
    if text is None:
        path = home.secrets.path(LOG_KEY)
        return load_signer(log_origin(), path).public if path.exists() else None
    try:
        return VerifyKey.parse(Path(text).read_text() if Path(text).is_file() else text)
    except (ValueError, OSError) as error:
        raise UserError(f"--key: {error}") from error


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the bytes of evidence are, and what unwraps the keys under which they are sealed."""

    store: EvidenceStore
    keks: Keks

    @asynccontextmanager
    async def opened(self, url: str) -> AsyncIterator[EvidenceStore]:
        """Yield the store that opens what it reads, with the keys that lie in a database."""
        engine = create_engine(url, "cases", pool_size=1)
        try:
            yield SealedStore(self.store, BlobKeys(engine, self.keks))
        finally:
            await engine.dispose()


def evidence_of(home: Home) -> Kept:
    """Return the store that the settings of cases name, or the home's own directory."""
    settings = load_settings(Settings)
    return Kept(evidence_store(settings, utc_now) or LocalStore(home.evidence), keks_of(home))


async def verify_database(
    url: str, key: VerifyKey | None, pinned: str | None, evidence: Kept | None = None
) -> Outcome:
    """Judge the whole log of a database, read in one snapshot, and on demand the *evidence*."""

    async def work() -> str:
        plain, arguments = plain_url(url)
        try:
            connection = await asyncpg.connect(plain, **arguments)
        except (OSError, asyncpg.PostgresError) as error:
            raise UserError(f"the database does not answer: {error}") from error
        try:
            sentence = (await audit_database(connection, key, pinned)).sentence()
            if evidence is None:
                return sentence
            async with evidence.opened(url) as store:
                return f"{sentence}; {await audit_evidence(connection, store)}"
        finally:
            await connection.close()

    return await judged(work)


async def verify_file(path: Path, key: VerifyKey | None) -> Outcome:
    """Judge a bundle, with nothing but the file."""

    async def work() -> str:
        return verify_bundle(path, key)

    return await judged(work)
