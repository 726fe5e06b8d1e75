"""`tocsin cases rebuild`: the views made anew, and whether they were what the log says."""

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from services.cases.advance import GapError
from services.cases.fingerprint import state_hash
from services.cases.rebuild import RebuildRunsError
from services.cases.rebuild import rebuild as make_anew
from services.cases.sealing.kek import Keks
from services.cases.sealing.vault import Vault
from shared.db import create_engine
from shared.errors import UserError
from tocsin.verify import INTACT, TAMPERED, Outcome

__all__ = ["rebuild"]


async def rebuild(url: str, keks: Keks) -> Outcome:
    """Rebuild the views of the database; UserError when it does not answer.

    The platform may go on running: people read the live views, which go on, until the new ones
    take their place.
    """
    engine = create_engine(url, "cases", pool_size=1)
    try:
        rebuilt = await make_anew(engine, Vault(engine, keks))
    except RebuildRunsError as error:
        raise UserError(f"the views were not rebuilt: {error}") from error
    except (TimeoutError, OSError, SQLAlchemyError, asyncpg.PostgresError, GapError) as error:
        raise UserError(f"the views were not rebuilt, and are as they were: {error}") from error
    finally:
        await engine.dispose()
    told = (
        f"{rebuilt.events} events in {rebuilt.folded_seconds:.1f} s"
        f" ({rebuilt.events / rebuilt.folded_seconds:,.0f}/s), both sets hashed in"
        f" {rebuilt.hashed_seconds:.1f} s; state hash {state_hash(rebuilt.after)}"
    )
    if rebuilt.differing:
        return Outcome(
            TAMPERED,
            f"rebuilt, but the views DIFFERED from the log: {', '.join(rebuilt.differing)}. {told}",
        )
    return Outcome(INTACT, f"the same as live: {told}")
