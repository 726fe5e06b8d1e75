"""Syslog over TLS (RFC 5425), TCP (RFC 6587) and UDP (RFC 5426); each port is off by default.

Syslog has no answer, so back-pressure is not to read on: over a connection, the next bytes are read
when the last are on disk. UDP has no back-pressure at all: what there is no room for is dropped and
counted, and what the kernel drops is counted too.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

from services.ingest.doors.exchange import Refusal
from services.ingest.doors.gate import Intake
from services.ingest.doors.syslog_framing import Framer, FramingError
from services.ingest.doors.syslog_senders import Senders
from services.ingest.envelope import Enveloper
from services.ingest.framing import Item
from services.ingest.refusals import Refused
from services.ingest.settings import Settings
from services.ingest.sources import Source
from shared.clock import rfc3339
from shared.db import is_transient
from shared.ids import jitter, uuid7
from shared.settings import SettingsError

__all__ = ["SyslogListener", "tls_context"]

READ = 256 * 1024
IDLE_SECONDS = 3600.0
HANDSHAKE_SECONDS = 10.0
UDP_QUEUE = 4 << 20

log = structlog.get_logger()
_connections = Gauge("tocsin_ingest_syslog_connections", "Open connections", ["transport"])
_dropped = Counter("tocsin_ingest_syslog_udp_dropped_total", "Datagrams lost here", ["cause"])
_kernel_dropped = Gauge("tocsin_ingest_syslog_udp_kernel_drops", "Datagrams lost in the kernel")


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return the context of the TLS listener; SettingsError when its files cannot be used.

    With a client CA, a sender has to show a certificate of it (RFC 5425, §4.2.1).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key = settings.syslog_tls_certificate, settings.syslog_tls_key
    if certificate is None:
        raise SettingsError("TOCSIN_INGEST_SYSLOG_TLS_CERTIFICATE is not set")
    try:
        context.load_cert_chain(certificate, key)
        if settings.syslog_tls_client_ca is not None:
            context.load_verify_locations(settings.syslog_tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"the syslog listener's certificate: {error}") from error
    return context


class SyslogListener:
    """The listeners that *settings* ask for; use `running`."""

    def __init__(self, intake: Intake) -> None:
        self._intake, self._settings = intake, intake.settings
        self._senders = Senders(intake.settings.syslog_senders)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._stopping = asyncio.Event()
        self.ports: dict[str, int] = {}
        """Where it listens, by transport."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["SyslogListener"]:
        """Listen for as long as the block lasts; what was read by then is stored."""
        settings, servers = self._settings, []
        udp: _Datagrams | None = None
        context = None if settings.syslog_tls_port is None else tls_context(settings)
        wanted = {
            "tls": (settings.syslog_tls_port, context),
            "tcp": (settings.syslog_tcp_port, None),
        }
        try:
            for transport, (port, tls) in wanted.items():
                if port is not None:
                    server = await self._serve(transport, port, tls)
                    servers.append(server)
                    self.ports[transport] = server.sockets[0].getsockname()[1]
            if settings.syslog_udp_port is not None:
                udp = _Datagrams(self._intake, self._senders, self._stopping)
                self.ports["udp"] = await udp.open(settings.syslog_host, settings.syslog_udp_port)
            yield self
        finally:
            self._stopping.set()
            for server in servers:
                server.close()
            for writer in self._writers:  # nothing more is read, what was read is stored
                writer.transport.close()
            if udp is not None:
                self._tasks.add(udp.close())
            if self._tasks:
                _, late = await asyncio.wait(self._tasks, timeout=settings.drain_seconds)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, transport: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a connection is served by a task")
            self._tasks.add(task)
            self._writers.add(writer)
            try:
                with _connections.labels(transport).track_inprogress():
                    await self._connection(transport, reader, writer)
            finally:
                self._tasks.discard(task)
                self._writers.discard(writer)
                writer.transport.abort()

        return await asyncio.start_server(
            on_connection,
            self._settings.syslog_host,
            port,
            limit=READ,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
        )

    async def _connection(
        self, transport: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = str(writer.get_extra_info("peername", ("",))[0])
        try:
            source = await self._sender(transport, peer, writer)
        except Refusal as refusal:
            self._note(transport, peer, refusal)
            return
        framer = Framer()
        try:
            while data := await asyncio.wait_for(reader.read(READ), IDLE_SECONDS):
                await self._keep(source, peer, framer.feed(data))
            await self._keep(source, peer, framer.end())
        except (OSError, TimeoutError) as error:
            log.info("syslog connection ended", peer=peer, error=str(error) or repr(error))
            await self._keep(source, peer, framer.end())
        except FramingError as error:
            self._note(transport, peer, Refusal(400, "unframeable", f"{error}."), source)

    async def _sender(self, transport: str, peer: str, writer: asyncio.StreamWriter) -> Source:
        """Return whose connection it is; Refusal for a stranger, or one too many."""
        if len(self._writers) > self._settings.syslog_connections:
            raise Refusal(503, "busy", "Too many connections are open.")
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls else None
        if tls is not None and der is not None:
            named = self._senders.by_certificate(der, tls.getpeercert() or {})
        else:
            named = self._senders.by_address(peer)
        try:
            source = await self._intake.sources.named(named) if named else None
        except Exception as error:
            if not is_transient(error):
                raise
            raise Refusal(503, "database_unavailable", "The sender cannot be looked up.") from error
        if source is None:
            what = "certificate" if der is not None else "address"
            raise Refusal(403, "sender_unknown", f"No source sends with this {what} ({transport}).")
        return source

    def _note(
        self, transport: str, peer: str, refusal: Refusal, source: Source | None = None
    ) -> None:
        self._intake.refused.note(
            Refused(
                at=rfc3339(self._intake.clock()),
                request_id="",
                door=f"syslog-{transport}",
                source_id=source.id if source else None,
                peer=peer,
                status=refusal.status,
                code=refusal.code,
                detail=refusal.detail,
            )
        )

    async def _keep(self, source: Source, peer: str, frames: Sequence[bytes]) -> None:
        if frames:
            await store_until_durable(self._intake, source, peer, frames, self._stopping)


async def store_until_durable(
    intake: Intake, source: Source, peer: str, frames: Sequence[bytes], stopping: asyncio.Event
) -> None:
    """Return once *frames* are on disk, however often that takes: the sender waits meanwhile.

    When the process is *stopping*, one refusal ends it: syslog cannot tell the sender, so the
    frames in hand are lost, and said to be in the log.
    """
    loop = asyncio.get_running_loop()
    if intake.rates:
        while seconds := intake.rates.wait(source.id, loop.time()):
            if await _stopped(stopping, seconds):
                break
        intake.rates.take(source.id, len(frames), loop.time())
    now, request_id, pause = intake.clock(), str(uuid7()), 0.1
    items = [Item(n, f, True, None, None, {"syslog.peer": peer}) for n, f in enumerate(frames)]
    # A repetition after a lost PubAck must not double: the batch is its own key.
    measure = intake.activity.measure(source, now)
    enveloper = Enveloper(source, None, now, intake.limits, request_id, measure)
    sealed, rejected = enveloper.seal_all(items)
    while True:
        try:
            intake.shed()
            await intake.store(source, "syslog", request_id, request_id, now, sealed, rejected)
        except Refusal as refusal:
            if stopping.is_set():
                log.critical(
                    "syslog messages lost",
                    source=source.id,
                    count=len(frames),
                    cause=refusal.code,
                )
                return
            await _stopped(stopping, jitter(pause))
            pause = min(5.0, pause * 2)
        else:
            intake.activity.note(source, measure)
            return


async def _stopped(stopping: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
    return stopping.is_set()


class _Datagrams(asyncio.DatagramProtocol):
    """UDP: a bounded queue between the socket and the writer."""

    def __init__(self, intake: Intake, senders: Senders, stopping: asyncio.Event) -> None:
        self._intake, self._senders, self._stopping = intake, senders, stopping
        self._queue: list[tuple[str, str, bytes]] = []  # source id, peer, message
        self._size = 0
        self._arrived = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None
        self._task: asyncio.Task[None] | None = None
        self._port = 0

    async def open(self, host: str, port: int) -> int:
        """Listen; return the port."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(host, port)
        )
        self._port = int(self._transport.get_extra_info("sockname")[1])
        self._task = loop.create_task(self._drain())
        return self._port

    def close(self) -> asyncio.Task[None]:
        """Stop listening; return the task that stores what has arrived."""
        if self._transport is None or self._task is None:
            raise RuntimeError("not open")
        self._transport.close()
        self._arrived.set()
        return self._task

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        source_id = self._senders.by_address(str(addr[0]))
        message = data.strip(b"\r\n\0")
        if source_id is None or not message:
            _dropped.labels("sender_unknown" if message else "empty").inc()
        elif self._size + len(message) > UDP_QUEUE:
            _dropped.labels("queue_full").inc()
        else:
            self._queue.append((source_id, str(addr[0]), message))
            self._size += len(message)
            self._arrived.set()

    async def _drain(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), 15)
            _kernel_dropped.set(kernel_drops(self._port))
            self._arrived.clear()
            taken, self._queue, self._size = self._queue, [], 0
            batches: dict[tuple[str, str], list[bytes]] = {}
            for source_id, peer, message in taken:
                batches.setdefault((source_id, peer), []).append(message)
            for (source_id, peer), frames in batches.items():
                await self._keep(source_id, peer, frames)
            if self._stopping.is_set() and not self._queue:
                return

    async def _keep(self, source_id: str, peer: str, frames: list[bytes]) -> None:
        try:
            source = await self._intake.sources.named(source_id)
        except Exception as error:
            if not is_transient(error):
                raise
            source = None
        if source is None:
            _dropped.labels("sender_unknown").inc(len(frames))
            return
        await store_until_durable(self._intake, source, peer, frames, self._stopping)


def kernel_drops(port: int, table: Path = Path("/proc/net/udp")) -> int:
    """Return how many datagrams the kernel dropped for want of room; 0 where it does not say."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return 0
    rows = (line.split() for line in lines)
    return sum(int(row[-1]) for row in rows if row[1].endswith(f":{port:04X}"))
