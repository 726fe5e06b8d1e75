"""An extract: what a search found, whole, as NDJSON in a file of no name, with its SHA-256."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from services.ingest.search.request import Prepared
from services.ingest.search.service import SearchService
from services.ingest.store.rows import envelope_of
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["Extract", "make_extract"]

PORTION = 5000  # events that are held at a time
PIECE = 1 << 20


@dataclass(slots=True)
class Extract:
    """Complete: no limit cut it short."""

    file: IO[bytes]
    sha256: bytes = b""
    events: int = 0
    size: int = 0
    complete: bool = False
    damaged: bool = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes; the file is gone afterwards."""
        with self.file as file:
            file.seek(0)
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield piece


async def make_extract(
    service: SearchService,
    prepared: Prepared,
    *,
    owner: str,
    tenant: str | None,
    query: str,
    limit: int,
    max_bytes: int,
    folder: Path,
    gone: Callable[[], Awaitable[bool]],
) -> Extract:
    """Return every event of the search, up to *limit* and about *max_bytes*; ProblemError."""
    made = Extract(await asyncio.to_thread(_nameless, folder))
    digest = hashlib.sha256()
    try:
        while made.events < limit and made.size < max_bytes and not made.complete:
            if await gone():
                raise ProblemError(409, "search_cancelled", "The search was cancelled.")  # noqa: TRY301 - closes the file on its way
            answer = await service.search(
                prepared,
                limit=min(PORTION, limit - made.events),
                owner=owner,
                query=query,
                tenant=tenant,
            )
            lines = b"".join(envelope_of(row) + b"\n" for row in answer.hits)
            digest.update(lines)
            await asyncio.to_thread(made.file.write, lines)
            made.events += len(answer.hits)
            made.size += len(lines)
            made.complete = answer.next_after is None
            made.damaged = made.damaged or answer.damaged > 0
            prepared = replace(prepared, after=answer.next_after)
    except BaseException:
        made.file.close()
        raise
    made.sha256 = digest.digest()
    return made


def _nameless(folder: Path) -> IO[bytes]:
    """Return an open file that has no name: nothing is left of it, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid7()}.ndjson"
    file = path.open("x+b")
    path.unlink()
    return file
