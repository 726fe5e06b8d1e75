"""One POST to a provider: only to where the egress guard lets it go, with time-outs."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx

from services.escalate.paging import ChannelError
from shared.egress import AllowList, EgressError, Resolver, destination, system_resolver

__all__ = ["Poster"]

TOTAL = 8.0  # less than what a page may take altogether
KEPT = 200


class Poster:
    """Posts JSON to a checked end; no redirects, no proxy from the environment."""

    def __init__(
        self,
        allow: AllowList,
        resolve: Resolver = system_resolver,
        ca_file: Path | None = None,
    ) -> None:
        self._allow, self._resolve = allow, resolve
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Return on any 2xx; ChannelError for everything else, without the URL: it is a secret."""
        try:
            async with asyncio.timeout(TOTAL):
                answer, kept = await self._post(url, body, headers)
        except EgressError as error:
            raise ChannelError(f"refused: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            raise ChannelError(f"{type(error).__name__}: {error or 'no answer in time'}") from None
        if not answer.is_success:
            raise ChannelError(f"HTTP {answer.status_code}: {kept}")

    async def _post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[httpx.Response, str]:
        end = await destination(url, self._allow, self._resolve)
        async with (
            httpx.AsyncClient(
                verify=self._tls, trust_env=False, follow_redirects=False, timeout=TOTAL
            ) as client,
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
            kept = b""
            async for chunk in answer.aiter_raw():
                kept += chunk[: KEPT - len(kept)]
                if len(kept) >= KEPT:
                    break
        words = kept.decode("utf-8", "replace")
        return answer, "".join(c if c.isprintable() else " " for c in words).strip()
