"""Notices by webhook: Standard Webhooks signature, and only to where `egress` lets it go."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import httpx
from standardwebhooks import Webhook

from services.notify.channel import DeliveryError, Notification, Proof
from shared.clock import Clock
from shared.egress import AllowList, EgressError, Resolver, client_to_outside, destination
from shared.retry_after import retry_after

__all__ = ["WebhookChannel"]

TOTAL = 10.0  # until the status is there
BODY = 2.0  # for what follows it
MAX_ANSWER = 1 << 20
KEPT = 512  # of the answer, for the ledger
MAX_RETRY_AFTER = 24 * 3600.0

SecretOf = Callable[[str, str | None], str | None]
"""Returns the signing secret of (tenant, secret_ref); None when there is none."""


class WebhookChannel:
    """Posts a notice to the tenant's endpoint. ``webhook-id`` is the notification's id."""

    def __init__(
        self,
        *,
        allow: AllowList,
        resolve: Resolver,
        secret_of: SecretOf,
        clock: Clock,
        ca_file: Path | None = None,
    ) -> None:
        self._allow, self._resolve = allow, resolve
        self._secret_of, self._clock = secret_of, clock
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    async def send(self, notification: Notification) -> Proof:
        """Return the proof on any 2xx; everything else is a DeliveryError."""
        headers = self._signed(notification)
        try:
            return await self._post(notification, headers)
        except EgressError as error:
            # What the guard refuses stays refused until a person changes something.
            raise DeliveryError(f"refused: {error}", retryable=error.transient) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            raise DeliveryError(
                f"{type(error).__name__}: {error or 'no answer in time'}", retryable=True
            ) from error

    def _signed(self, notification: Notification) -> dict[str, str]:
        secret = self._secret_of(notification.tenant, notification.secret_ref)
        if secret is None:
            raise DeliveryError(
                f"there is no webhook secret of {notification.tenant}", retryable=True
            )
        at = self._clock().astimezone(UTC)
        try:
            signature = Webhook(secret).sign(str(notification.id), at, notification.body)
        except Exception as error:
            # The library says it with several types; its words may hold the secret.
            raise DeliveryError("the webhook secret is malformed", retryable=True) from error
        return {
            "webhook-id": str(notification.id),
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature,
            "content-type": "application/json",
            "user-agent": "Tocsin",
        }

    async def _post(self, notification: Notification, headers: dict[str, str]) -> Proof:
        async with (
            asyncio.timeout(TOTAL) as limit,
            client_to_outside(self._tls, TOTAL) as client,
        ):
            end = await destination(notification.recipients[0], self._allow, self._resolve)
            async with client.stream(
                "POST",
                end.url,
                content=notification.body.encode(),
                headers={**headers, "host": end.host_header},
                extensions={"sni_hostname": end.host},
            ) as answer:
                # The status decides; a body that never ends does not undo it.
                limit.reschedule(None)
                kept = await _read(answer)
            words = f"HTTP {answer.status_code} from {end.host_header} ({end.address})"
            words += f": {kept}" if kept else ""
            if answer.is_success:
                return Proof(f"webhook-id {notification.id}; {words}")
            raise DeliveryError(
                words,
                retryable=answer.status_code != 410,  # Standard Webhooks: gone means stop
                retry_after=retry_after(answer.status_code, answer.headers, MAX_RETRY_AFTER),
            )


async def _read(answer: httpx.Response) -> str:
    """Return the beginning of the body as sent: nothing is unpacked, no more than 1 MiB read."""
    size, kept = 0, b""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(BODY):
            async for chunk in answer.aiter_raw():
                size += len(chunk)
                kept += chunk[: KEPT - len(kept)]
                if size > MAX_ANSWER:
                    break
    text = kept.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()
