"""Searching, as the routes and the replays use it: manifest, processes, refusals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.search.language import All
from services.ingest.search.plan import Answer, Search
from services.ingest.search.pool import BusyError, Running, Searchers, TooManyError
from services.ingest.search.request import Prepared
from services.ingest.search.worker import Failure
from services.ingest.store.manifest import files_between
from shared.clock import Clock
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["SearchService", "shown"]

EVER = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

log = structlog.get_logger()
_REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "cancelled": (409, "search_cancelled", "The search was cancelled."),
    "too_long": (422, "search_too_long", "The search took too long; narrow its time or its terms."),
    "too_large": (422, "search_too_large", "The search needs more memory than it may have."),
    "damaged": (503, "store_damaged", "A file of the store cannot be read; the log names it."),
}


class SearchService:
    """One of these a process; it knows the store and who is searching it."""

    def __init__(
        self, engine: AsyncEngine, searchers: Searchers, max_bytes: int, clock: Clock
    ) -> None:
        self._engine, self.searchers = engine, searchers
        self._max_bytes, self._clock = max_bytes, clock

    async def search(
        self,
        prepared: Prepared,
        *,
        limit: int,
        owner: str,
        query: str = "",
        tenant: str | None = None,
        search_id: UUID | None = None,
        on_start: Callable[[Running], None] = lambda running: None,
    ) -> Answer:
        """Return the answer; ProblemError says why there is none.

        A *tenant* sees its own events only.
        """
        files = await files_between(self._engine, prepared.start, prepared.end)
        search = Search(
            node=prepared.node,
            start=prepared.start,
            end=prepared.end,
            files=files,
            tenant=tenant,
            limit=limit,
            max_bytes=self._max_bytes,
            sort=prepared.sort,
            after=prepared.after,
            aggregations=prepared.aggregations,
        )
        return await self._run(search, owner, query, search_id or uuid7(), on_start)

    async def event(
        self, event_id: UUID, owner: str, tenant: str | None
    ) -> Mapping[str, Any] | None:
        """Return the row of one event, wherever it lies, or None."""
        files = await files_between(self._engine, *EVER)
        search = Search(All(), *EVER, files, tenant=tenant, event_id=str(event_id), limit=1)
        found = await self._run(search, owner, f"id:{event_id}", uuid7(), lambda running: None)
        return found.hits[0] if found.hits else None

    async def _run(
        self,
        search: Search,
        owner: str,
        query: str,
        search_id: UUID,
        on_start: Callable[[Running], None],
    ) -> Answer:
        search, damaged = _without_damaged(search)
        running = Running(search_id, owner, query, self._clock())
        try:
            async with self.searchers.registered(running):
                on_start(running)
                answer = await self.searchers.run(search, running.cancel)
                if isinstance(answer, Failure) and answer.kind == "damaged":
                    # A file may have been merged into another since the manifest was read.
                    fresh = await files_between(self._engine, search.start, search.end)
                    search, damaged = _without_damaged(replace(search, files=fresh))
                    answer = await self.searchers.run(search, running.cancel)
        except BusyError:
            raise ProblemError(
                503, "busy", "Every search process is taken.", headers={"Retry-After": "5"}
            ) from None
        except TooManyError:
            raise ProblemError(
                429,
                "too_many_searches",
                "You have several searches running; wait for one, or cancel it.",
                headers={"Retry-After": "5"},
            ) from None
        except KeyError:
            raise ProblemError(409, "search_id_used", "A search of that id is running.") from None
        if isinstance(answer, Failure):
            log.warning("search failed", kind=answer.kind, detail=answer.detail, by=owner)
            if answer.kind not in _REFUSALS:
                raise RuntimeError(answer.detail)
            raise ProblemError(*_REFUSALS[answer.kind])
        return replace(answer, damaged=damaged)


def _without_damaged(search: Search) -> tuple[Search, int]:
    """Return *search* without files known to be damaged, and their number: the rest is found."""
    good = [file for file in search.files if file.problem is None]
    return replace(search, files=good), len(search.files) - len(good)


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of the store as the API gives it: ``raw`` is the text as it was sent."""
    logsource: Sequence[tuple[str, str]] = (
        ("product", "product"), ("category", "category"), ("service", "logsource_service"),
    )  # fmt: skip
    names = ("source_id", "tenant", "region", "datacenter", "service", "server", "fields")
    return {
        "id": str(row["id"]),
        "time": row["time"].isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "observed_time": row["observed_time"]
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z"),
        **{name: row[name] for name in names if row[name] is not None},
        "logsource": {name: row[at] for name, at in logsource if row[at] is not None},
        **(orjson.loads(row["extra"]) if row["extra"] is not None else {}),
        "raw": row["raw"],
    }
