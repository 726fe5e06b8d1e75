"""The inventory fetched from where the operator keeps it: over HTTP, on a schedule.

Where to is a setting, never what a user sends; it is guarded like a webhook all the same, as a name
may come to lead somewhere else. Of several replicas one fetches: whoever claims the source's turn.
"""

import asyncio
import hashlib
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import httpx
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notify.inventory_formats import FORMATS, Format
from services.notify.inventory_import import TooManyRejectedError
from services.notify.inventory_intake import DocumentTooLargeError, read_draft, spooled
from services.notify.inventory_keeper import InventoryKeeper, Outcome
from services.notify.inventory_store import MovedOnError
from services.notify.settings import InventorySource
from shared.clock import Clock, rfc3339
from shared.egress import AllowList, EgressError, Resolver, client_to_outside, destination
from shared.ids import jitter

__all__ = ["InventorySync", "SyncResult"]

TOTAL = 300.0  # seconds until a document is there
QUIET = 20.0  # seconds without a byte
FIRST_RETRY = 30.0
SHOWN = 10  # rejected rows kept with a result

log = structlog.get_logger()
_syncs = Counter(
    "tocsin_notify_inventory_sync_total", "Fetches of inventory sources", ["source", "outcome"]
)
_failing = Gauge(
    "tocsin_notify_inventory_sync_failures", "Fetches in a row that changed nothing", ["source"]
)
_synced = Gauge(
    "tocsin_notify_inventory_synced_timestamp_seconds", "When a source was last right", ["source"]
)

_KNOW = text(
    "INSERT INTO inventory_syncs (source, next_at) VALUES (:source, :at) ON CONFLICT DO NOTHING"
)
_CLAIM = text(
    "UPDATE inventory_syncs SET next_at = :lease WHERE source = :source AND next_at <= :now"
    " RETURNING source"
)
_STATE = text("SELECT etag, failures FROM inventory_syncs WHERE source = :source")
_DONE = text(
    "UPDATE inventory_syncs SET next_at = :next, etag = :etag, failures = :failures,"
    " checked_at = :now, outcome = :outcome, detail = :detail,"
    " changed_at = CASE WHEN :changed THEN CAST(:now AS timestamptz) ELSE changed_at END"
    " WHERE source = :source"
)
_ALL = text(
    "SELECT source, next_at, failures, checked_at, changed_at, outcome, detail"
    " FROM inventory_syncs ORDER BY source"
)

Word = Literal["changed", "unchanged", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a fetch came to; ``outcome`` is None where there was nothing to take."""

    word: Word
    detail: dict[str, Any]
    etag: str | None = None
    outcome: Outcome | None = None


class _SyncError(Exception):
    pass


class InventorySync:
    """Fetches each source when its turn has come; `once` is the work of a reconciler."""

    def __init__(
        self,
        sources: Sequence[InventorySource],
        keeper: InventoryKeeper,
        engine: AsyncEngine,
        clock: Clock,
        *,
        allow: AllowList,
        resolve: Resolver,
        ca_file: Path | None = None,
    ) -> None:
        self.sources = {source.name: source for source in sources}
        self._keeper, self._engine, self._clock = keeper, engine, clock
        self._allow, self._resolve = allow, resolve
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    async def once(self) -> int:
        """Fetch what is due and return 0."""
        for source in self.sources.values():
            if await self._claim(source):
                await self.run(source, by="schedule")
        return 0

    async def run(self, source: InventorySource, *, by: str, dry_run: bool = False) -> SyncResult:
        """Fetch *source* now, take it unless *dry_run*, and record what came of it."""
        now = self._clock()
        async with self._engine.begin() as connection:
            await connection.execute(_KNOW, {"source": source.name, "at": now})
            state = (await connection.execute(_STATE, {"source": source.name})).one()
        etag = None if dry_run else _etag_of(source, state.etag)
        try:
            result = await self._fetch(source, etag, by, dry_run)
        except (_SyncError, EgressError, MovedOnError, TooManyRejectedError) as error:
            result = SyncResult("failed", {"why": str(error) or "another replica was faster"})
        except (httpx.HTTPError, OSError, TimeoutError, DocumentTooLargeError) as error:
            why = f"{type(error).__name__}: {error or 'no answer in time'}"
            result = SyncResult("failed", {"why": why})
        if not dry_run:
            await self._note(source, result, state.failures)
        return result

    async def results(self) -> list[dict[str, Any]]:
        """Return each source with its last result and its next turn."""
        async with self._engine.connect() as connection:
            rows = {row.source: row for row in await connection.execute(_ALL)}
        return [_shown(source, rows.get(name)) for name, source in sorted(self.sources.items())]

    async def _claim(self, source: InventorySource) -> bool:
        now = self._clock()
        lease = now + timedelta(seconds=TOTAL * 2)
        async with self._engine.begin() as connection:
            await connection.execute(_KNOW, {"source": source.name, "at": now})
            values = {"source": source.name, "now": now, "lease": lease}
            return (await connection.execute(_CLAIM, values)).first() is not None

    async def _note(self, source: InventorySource, result: SyncResult, failures: int) -> None:
        now = self._clock()
        good = result.word in {"changed", "unchanged"}
        failures = 0 if good else failures + 1
        wait = source.seconds * 0.9 + jitter(source.seconds * 0.2)
        if not good:
            wait = min(wait, jitter(FIRST_RETRY * 2.0 ** min(failures, 10)))
        async with self._engine.begin() as connection:
            await connection.execute(
                _DONE,
                {
                    "source": source.name,
                    "next": now + timedelta(seconds=wait),
                    "etag": f"{_settings_of(source)} {result.etag}" if result.etag else None,
                    "failures": failures,
                    "now": now,
                    "outcome": result.word,
                    "detail": json.dumps(result.detail),
                    "changed": result.word == "changed",
                },
            )
        _syncs.labels(source.name, result.word).inc()
        _failing.labels(source.name).set(failures)
        if good:
            _synced.labels(source.name).set(now.timestamp())
        else:
            log.error("inventory not synced", source=source.name, **result.detail)

    async def _fetch(
        self, source: InventorySource, etag: str | None, by: str, dry_run: bool
    ) -> SyncResult:
        headers = {
            "accept": ", ".join(FORMATS),
            "accept-encoding": "identity",  # what is counted is what comes
            "user-agent": "Tocsin",
            **({"if-none-match": etag} if etag else {}),
            **await asyncio.to_thread(_authorization, source),
        }
        async with (
            asyncio.timeout(TOTAL) as limit,
            client_to_outside(self._tls, QUIET) as client,
        ):
            end = await destination(source.url.get_secret_value(), self._allow, self._resolve)
            headers["host"] = end.host_header
            extensions = {"sni_hostname": end.host}
            async with client.stream(
                "GET", end.url, headers=headers, extensions=extensions
            ) as answer:
                if answer.status_code == 304 and etag:
                    return SyncResult("unchanged", {}, etag)
                form = _format(source, answer)
                async with spooled(answer.aiter_raw()) as file:
                    limit.reschedule(None)
                    return await self._take(source, file, form, answer, by, dry_run)

    async def _take(
        self,
        source: InventorySource,
        file: IO[bytes],
        form: Format,
        answer: httpx.Response,
        by: str,
        dry_run: bool,
    ) -> SyncResult:
        async with self._keeper.reading:
            draft = await asyncio.to_thread(read_draft, file, form, source.kind)
            outcome = await self._keeper.bring_in(
                draft,
                whole=source.replace,
                skip_rejected=source.skip_rejected,
                dry_run=dry_run,
                source=f"sync:{source.name}",
                by=by,
            )
        change = outcome.change
        rejected = [{"line": one.line, "why": one.why} for one in change.rejected[:SHOWN]]
        detail = {"changes": change.difference.counts(), "rejected": len(change.rejected)}
        if change.rejected and not source.skip_rejected:
            return SyncResult("refused", {**detail, "first": rejected}, None, outcome)
        word: Word = "changed" if change.difference else "unchanged"
        detail["version"] = change.inventory.version
        return SyncResult(word, {**detail, "first": rejected}, answer.headers.get("etag"), outcome)


def _format(source: InventorySource, answer: httpx.Response) -> Format:
    if answer.has_redirect_location:
        raise _SyncError("the source redirects; name the address that it leads to")
    if answer.status_code != 200:
        raise _SyncError(f"HTTP {answer.status_code}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise _SyncError("the answer is packed, though it was not asked for")
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    path = PurePosixPath(httpx.URL(source.url.get_secret_value()).path)
    by_name: dict[str, Format] = {
        ".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json",
    }  # fmt: skip
    form = FORMATS.get(media) or by_name.get(path.suffix)
    if form is None:
        raise _SyncError(f"{media or 'nothing'} is none of {', '.join(FORMATS)}")
    return form


def _authorization(source: InventorySource) -> dict[str, str]:
    if source.token_file is None:
        return {}
    return {"authorization": f"Bearer {source.token_file.read_text('utf-8').strip()}"}


def _settings_of(source: InventorySource) -> str:
    """Return what tells whether a source is still the one that an ETag was given for."""
    said = f"{source.url.get_secret_value()} {source.kind} {source.replace}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _etag_of(source: InventorySource, kept: str | None) -> str | None:
    settings, _, etag = (kept or "").partition(" ")
    return etag or None if settings == _settings_of(source) else None


def _shown(source: InventorySource, row: Any) -> dict[str, Any]:
    def instant(at: datetime | None) -> str | None:
        return rfc3339(at) if at else None

    return {
        "name": source.name,
        "host": httpx.URL(source.url.get_secret_value()).host,
        "kind": source.kind,
        "seconds": source.seconds,
        "replace": source.replace,
        "outcome": row.outcome if row else None,
        "detail": json.loads(row.detail) if row else {},
        "failures": row.failures if row else 0,
        "checked_at": instant(row.checked_at) if row else None,
        "changed_at": instant(row.changed_at) if row else None,
        "next_at": instant(row.next_at) if row else None,
    }
