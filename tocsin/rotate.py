"""New keys for cases: `rotate-keys` for what is sealed, `rotate-log-key` for the log."""

import os
from pathlib import Path

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from services.cases.ledger.handover import hand_over
from services.cases.ledger.keys import Signer, load_signer
from services.cases.ledger.tree import LedgerError
from services.cases.ledger.verifier import TamperedError, VerifyKey
from services.cases.sealing.kek import Keks
from services.cases.sealing.rotation import rotate
from shared.db import create_engine
from shared.errors import UserError
from tocsin.case_keys import new_log_key

__all__ = ["rotate_keys", "rotate_log_key"]


async def rotate_keys(url: str, keks: Keks) -> int:
    """Return how many data keys were wrapped anew; UserError when the database does not answer."""
    engine = create_engine(url, "cases", pool_size=1)
    try:
        return await rotate(engine, keks)
    except (TimeoutError, OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise UserError(f"not all keys were wrapped anew; run it again: {error}") from error
    finally:
        await engine.dispose()


async def rotate_log_key(url: str, origin: str, path: Path) -> VerifyKey:
    """Hand the log over from the key in *path* to a new one, which then lies there; return it.

    The old one stays beside it, named by its id. Whoever dies in between runs it again.
    """
    old, new = _keys(origin, path)
    engine = create_engine(url, "cases", pool_size=1)
    try:
        await hand_over(engine, old, new)
    except (LedgerError, TamperedError) as error:
        raise UserError(f"the log's key was not handed over: {error}") from error
    except (TimeoutError, OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise UserError(f"run it again, the key may be handed over or not: {error}") from error
    finally:
        await engine.dispose()
    _exchange(path, old)
    return new.public


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _keys(origin: str, path: Path) -> tuple[Signer, Signer]:
    """Return the key in *path* and the one that is to follow it, made now unless it was before."""
    old = load_signer(origin, path)
    if not _next(path).exists():
        _write(_next(path), new_log_key())
    return old, load_signer(origin, _next(path))


def _exchange(path: Path, old: Signer) -> None:
    kept = path.with_name(f"{path.name}.{old.public.id.hex()}")
    if not kept.exists():
        _write(kept, path.read_text(encoding="ascii"))
    _next(path).replace(path)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
