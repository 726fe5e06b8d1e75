"""The shell around every door: shed, authenticate, read, decode, make durable, answer.

Plain ASGI, since these are the hot routes. Load is turned away before a body is read, and a 2xx
leaves only after every event and every quarantined item of the request is on disk. What the answer
looks like is the door's own business.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from services.ingest.decompress import BodyError, TooLargeError, UnknownEncodingError, decompress
from services.ingest.doors.exchange import Answer, Decoded, Door, Outcome, Refusal, Request
from services.ingest.envelope import Enveloper, Limits, Rejected, Sealed
from services.ingest.framing import TooManyError, UnframeableError
from services.ingest.quarantine import keep
from services.ingest.rate import RateLimits
from services.ingest.refusals import Refused, RefusedLately
from services.ingest.settings import Settings
from services.ingest.sources import ScopeError, Source, SourceDirectory
from services.ingest.watch.activity import Activity
from services.ingest.watch.measure import Measure
from services.ingest.writer import BlockWriter, OverloadedError
from shared.bus import Bus, BusUnavailableError
from shared.clock import Clock, rfc3339
from shared.contracts.ingest import Logsource
from shared.db import is_transient

__all__ = ["Desk", "Gate", "Intake"]

IN_PLACE = 512 * 1024  # a larger body is parsed in a thread, so that the others (and probes) go on
IN_PLACE_PACKED = 64 * 1024
BODY_SECONDS = 60.0

log = structlog.get_logger()
# One thread: parsing holds the interpreter anyway, and a second would hold a second body.
_parsing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")


@dataclass(frozen=True)
class Intake:
    """What all doors share; made once by the composition root, found on ``scope["state"]``."""

    settings: Settings
    sources: SourceDirectory
    writer: BlockWriter
    bus: Bus
    clock: Clock
    refused: RefusedLately
    activity: Activity
    rates: RateLimits | None
    full: Callable[[], str | None]
    """Why nothing can be stored now (stream full, disk nearly full), or None."""

    @cached_property
    def limits(self) -> Limits:
        return Limits(self.settings.max_event_bytes, self.settings.max_depth)

    def shed(self) -> None:
        """Raise Refusal when a request could not be stored anyway."""
        if not self.bus.connected:
            raise Refusal(
                503,
                "broker_unavailable",
                "The broker does not answer now; nothing was stored, so send it again.",
                retry_after=2,
            )
        if reason := self.full():
            raise Refusal(503, "storage_full", reason, retry_after=30)
        if self.writer.is_overloaded():
            raise busy()

    async def authenticate(self, door: Door, request: Request) -> Source:
        """Return the sender; Refusal 401, which tells nobody what exists, for any other."""
        key = door.key(request)
        try:
            source = await self.sources.authenticate(key, door.name) if key else None
        except ScopeError as error:
            raise Refusal(403, "key_scope", f"Not by this door: {error}.") from error
        except Exception as error:
            if not is_transient(error):
                raise
            raise Refusal(
                503,
                "database_unavailable",
                "The key cannot be looked up now; send it again.",
                retry_after=2,
            ) from error
        if source is None:
            raise Refusal(
                401,
                "key_invalid" if key else "key_missing",
                "This needs the API key of a log source (Authorization: Bearer tocsin_…).",
            )
        return source

    async def store(
        self,
        source: Source,
        door: str,
        request_id: str,
        client_key: str | None,
        now: datetime,
        sealed: list[Sealed],
        rejected: list[Rejected],
    ) -> frozenset[int]:
        """Return the indexes that were known once everything is durable; Refusal when it is not."""
        try:
            if rejected:
                # First what is broken: if that fails, a repetition stores nothing of it twice.
                await keep(self.bus, rejected, source, door, request_id, client_key, now)
            return await self.writer.write(source.id, sealed, now)
        except OverloadedError:
            raise busy() from None
        except BusUnavailableError as error:
            log.warning("unavailable", part="broker", error=str(error))
            raise Refusal(
                503,
                "broker_unavailable",
                "The broker did not confirm; nothing is certain, so send it again.",
                retry_after=2,
            ) from error


def busy() -> Refusal:
    """Return the refusal of somebody who has to wait for others."""
    return Refusal(
        503, "busy", "More is waiting for the broker than may be held; send it again.",
        retry_after=1,
    )  # fmt: skip


class Gate:
    """An ASGI application: the requests of one door."""

    __tocsin_guard__ = frozenset({"ingest_client"})  # see shared.auth.is_guarded

    def __init__(self, door: Door) -> None:
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        intake: Intake = scope["state"]["intake"]
        request = Request(scope)
        source: Source | None = None
        try:
            intake.shed()
            source = await intake.authenticate(self.door, request)
            answer = await self._accept(intake, request, source, receive)
        except Refusal as refusal:
            answer = refused(intake, self.door, request, refusal, source, scope)
        except _GoneError:
            return
        await reply(send, answer)

    async def _accept(
        self, intake: Intake, request: Request, source: Source, receive: Receive
    ) -> Answer:
        begun = time.monotonic()
        if intake.rates and (seconds := intake.rates.wait(source.id, begun)):
            raise Refusal(
                429,
                "rate_limited",
                f"This source may send {intake.rates.rate:g} events a second.",
                retry_after=seconds,
            )
        now = intake.clock()
        with intake.writer.held() as hold:
            body = await _read(receive, intake, hold)
            packed = self.door.encoding(request)
            client_key = request.headers.get("idempotency-key")
            work = (intake, request, source, now, body, packed, client_key)
            if len(body) <= (IN_PLACE_PACKED if packed else IN_PLACE):
                parsed = self._parse(*work)
            else:
                loop = asyncio.get_running_loop()
                parsed = await loop.run_in_executor(_parsing, self._parse, *work)
            del body, work
        decoded, sealed, rejected, measure = parsed
        if decoded.answer is not None:
            return decoded.answer
        known = await intake.store(
            source, self.door.name, request.id, client_key, now, sealed, rejected
        )
        intake.activity.note(source, measure)
        if intake.rates:
            intake.rates.take(source.id, len(sealed) + len(rejected), time.monotonic())
        outcome = Outcome(
            accepted=len(sealed) - len(known),
            known=known,
            quarantined=len(rejected),
            context=decoded.context,
            now=now,
            seconds=time.monotonic() - begun,
            source_id=source.id,
        )
        return self.door.answer(request, outcome)

    def _parse(
        self,
        intake: Intake,
        request: Request,
        source: Source,
        now: datetime,
        body: bytes,
        packed: str,
        client_key: str | None,
    ) -> tuple[Decoded, list[Sealed], list[Rejected], Measure]:
        settings = intake.settings
        try:
            if packed:
                body = decompress(
                    body, packed, max_bytes=settings.max_body_bytes, max_ratio=settings.max_ratio
                )
            decoded = self.door.decode(request, body)
            measure = intake.activity.measure(source, now)
            enveloper = Enveloper(source, _hint(request), now, intake.limits, client_key, measure)
            most_bytes = 2 * settings.max_body_bytes
            if decoded.lines and (quick := enveloper.seal_lines(decoded.lines, most_bytes)):
                return decoded, quick, [], measure
            sealed, rejected = enveloper.seal_all(decoded.items, settings.max_items, most_bytes)
            return decoded, sealed, rejected, measure
        except (TooLargeError, TooManyError) as error:
            raise Refusal(413, "too_large", f"{error}.") from error
        except UnknownEncodingError as error:
            raise Refusal(415, "unknown_encoding", f"{error}.") from error
        except (BodyError, UnframeableError) as error:
            raise Refusal(400, "unframeable", f"{error}.") from error


class Desk:
    """An ASGI application: questions of a protocol that carry no events (handshakes, health)."""

    def __init__(
        self,
        door: Door,
        reply: Callable[[Request, Source | None, bytes], Answer],
        *,
        public: bool = False,
    ) -> None:
        self._door, self._reply = door, reply
        if public:
            self.__tocsin_public__ = True
        else:
            self.__tocsin_guard__ = Gate.__tocsin_guard__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        intake: Intake = scope["state"]["intake"]
        request = Request(scope)
        source: Source | None = None
        try:
            if hasattr(self, "__tocsin_guard__"):
                source = await intake.authenticate(self._door, request)
            with intake.writer.held() as hold:
                body = await _read(receive, intake, hold, most=1 << 20)
            answer = self._reply(request, source, body)
        except Refusal as refusal:
            answer = refused(intake, self._door, request, refusal, source, scope)
        except _GoneError:
            return
        await reply(send, answer, head=request.method == "HEAD")


class _GoneError(Exception):
    """The client has left; there is nobody to answer."""


def _hint(request: Request) -> Logsource | None:
    if not request.query_string:
        return None
    named = {
        name: value[:64]
        for name in ("product", "category", "service")
        if (value := request.query.get(name))
    }
    return Logsource(**named) if named else None


async def _read(
    receive: Receive, intake: Intake, hold: Callable[[int], None], most: int | None = None
) -> bytes:
    """Return the body as sent. Its bytes count among what is held while they come in."""
    most = most or intake.settings.max_body_bytes
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise Refusal(413, "too_large", f"A body is at most {most} bytes.")
                if chunks and intake.writer.is_overloaded(len(chunk)):
                    raise busy()
                hold(len(chunk))
                chunks.append(chunk)
                if not message.get("more_body"):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        detail = f"The body did not come within {BODY_SECONDS:g} s."
        raise Refusal(408, "body_stalled", detail) from None


def refused(
    intake: Intake,
    door: Door,
    request: Request,
    refusal: Refusal,
    source: Source | None,
    scope: Scope,
) -> Answer:
    """Return the answer of *refusal*, noted for those who look for its cause."""
    client: Any = scope.get("client")
    intake.refused.note(
        Refused(
            at=rfc3339(intake.clock()),
            request_id=request.id,
            door=door.name,
            source_id=source.id if source else None,
            peer=client[0] if client else "",
            status=refusal.status,
            code=refusal.code,
            detail=refusal.detail,
        )
    )
    answer = door.refuse(request, refusal, intake.clock())
    headers = answer.headers
    if refusal.retry_after is not None:
        seconds = str(refusal.retry_after).encode()
        headers += ((b"retry-after", seconds),)
        if refusal.code == "rate_limited":
            headers += ((b"ratelimit", b'"source";r=0;t=' + seconds),)
    if refusal.status == 401:
        headers += ((b"www-authenticate", b'Basic realm="tocsin", Bearer'),)
    return Answer(answer.status, answer.body, answer.content_type, headers)


async def reply(
    send: Callable[[dict[str, Any]], Awaitable[None]], answer: Answer, *, head: bool = False
) -> None:
    """Send *answer*; without its body when only the *head* was asked for."""
    headers = list(answer.headers)
    if answer.status != 204:
        headers.append((b"content-type", answer.content_type.encode()))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
