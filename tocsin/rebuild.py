"""`tocsin cases rebuild`: the views made anew, and whether they were what the log says."""

import time

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from services.cases.fingerprint import state_hash
from services.cases.projector import Projector
from shared.db import create_engine
from shared.errors import UserError
from tocsin.verify import INTACT, TAMPERED, Outcome

__all__ = ["rebuild"]


async def rebuild(url: str) -> Outcome:
    """Rebuild the views of the database; UserError when it does not answer.

    The platform may go on running: its readers see the old rows until the new ones are all there.
    """
    engine = create_engine(url, "cases", pool_size=1)
    began = time.perf_counter()
    try:
        rebuilt = await Projector(engine).rebuild()
    except (TimeoutError, OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise UserError(f"the views were not rebuilt, and are as they were: {error}") from error
    finally:
        await engine.dispose()
    seconds = time.perf_counter() - began
    told = (
        f"{rebuilt.events} events in {seconds:.1f} s ({rebuilt.events / seconds:,.0f}/s);"
        f" state hash {state_hash(rebuilt.after)}"
    )
    if rebuilt.differing:
        return Outcome(
            TAMPERED,
            f"rebuilt, but the views DIFFERED from the log: {', '.join(rebuilt.differing)}. {told}",
        )
    return Outcome(INTACT, f"the same as live: {told}")
