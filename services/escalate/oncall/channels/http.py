"""One POST to a provider: only to where the egress guard lets it go, with time-outs.

Connections are kept, each with a client of its own that is lent for one message at a time, and for
one host only: a connection whose certificate was checked for one name is never used for another
that happens to have the same address. Where a host leads is checked for every message, so a kept
connection serves only the address that was checked.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from services.escalate.oncall.channels.lookups import Lookups
from services.escalate.paging import ChannelError
from shared.egress import (
    AllowList,
    EgressError,
    Resolver,
    client_to_outside,
    destination,
    system_resolver,
)
from shared.retry_after import retry_after

__all__ = ["Poster"]

TOTAL = 8.0  # less than what a page may take altogether
KEPT = 200
READ = 1 << 16  # of an answer; a connection whose answer is longer is not used again
MOST_KEPT = 64
# However long a provider asks us to wait (Retry-After): a page is urgent, and it may be mistaken.
MOST_WAIT = 300.0
# One each: the library looks at every idle connection of a client for each request.
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=20.0)
# What a kept connection says that the other side has closed in the same moment.
_STALE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


class Poster:
    """Posts JSON to a checked end; no redirects, no proxy from the environment."""

    def __init__(
        self,
        allow: AllowList,
        resolve: Resolver = system_resolver,
        ca_file: Path | None = None,
    ) -> None:
        self._allow, self._resolve = allow, Lookups(resolve)
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._idle: list[tuple[tuple[str, str], httpx.AsyncClient]] = []  # used longest ago first

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _, client in self._idle:
            await client.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Return on any 2xx; ChannelError for everything else, without the URL: it is a secret.

        The message must have a key by which the other side knows a repeat: where a kept connection
        breaks off it is sent a second time at once.
        """
        try:
            async with asyncio.timeout(TOTAL):
                try:
                    answer, kept = await self._post(url, body, headers)
                except _STALE:
                    answer, kept = await self._post(url, body, headers)
        except EgressError as error:
            raise ChannelError(f"refused: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            raise ChannelError(f"{type(error).__name__}: {error or 'no answer in time'}") from None
        if not answer.is_success:
            wait = retry_after(answer.status_code, answer.headers, MOST_WAIT)
            raise ChannelError(f"HTTP {answer.status_code}: {kept}", retry_after=wait)

    async def _post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[httpx.Response, str]:
        end = await destination(url, self._allow, self._resolve)
        async with (
            self._lent((end.url.scheme, end.host_header)) as client,
            client.stream(
                "POST",
                end.url,
                content=body,
                headers={
                    "content-type": "application/json",
                    "user-agent": "Tocsin",
                    **headers,
                    "host": end.host_header,
                },
                extensions={"sni_hostname": end.host},
            ) as answer,
        ):
            kept, read = b"", 0
            async for chunk in answer.aiter_raw():
                kept += chunk[: KEPT - len(kept)]
                read += len(chunk)
                if read >= READ:
                    break
        words = kept.decode("utf-8", "replace")
        return answer, "".join(c if c.isprintable() else " " for c in words).strip()

    @asynccontextmanager
    async def _lent(self, host: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
        """Lend the client that was used last for *host*, or a new one."""
        last = next((n for n, (of, _) in enumerate(reversed(self._idle), 1) if of == host), None)
        client = self._idle.pop(-last)[1] if last else self._new()
        try:
            yield client
        finally:
            self._idle.append((host, client))
            if len(self._idle) > MOST_KEPT:
                _, oldest = self._idle.pop(0)
                await oldest.aclose()

    def _new(self) -> httpx.AsyncClient:
        return client_to_outside(self._tls, TOTAL, _LIMITS)
