"""Ingest as a process over a PostgreSQL and a NATS of its own, all data in one directory.

Any of them may be killed and started again; the whole may be stopped as a power cut stops it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import duckdb
import httpx
import nats
import psutil

from services.ingest.sources import Source
from shared.contracts.ingest import Envelope, decode_block
from tests.support.waiting import until
from tocsin.bootstrap import bootstrap
from tocsin.embedded.nats import EmbeddedNats
from tocsin.embedded.platform import EmbeddedPlatform
from tocsin.embedded.ports import LOOPBACK, claim_port
from tocsin.prepare import Order, prepare
from tocsin.stack import as_role, authorization, nkey_seed

__all__ = ["IngestProcess", "Replica", "ingest_process"]

SOURCE = Source(id="web")


class Replica:
    """One process of ingest; `life` changes with its starts and ends."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.port = claim_port(None, "ingest")
        self.syslog_port = claim_port(None, "syslog")
        self.life = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9; what it started itself sees the end of its pipe."""
        assert self.process is not None
        self.life += 1  # before the kill: whoever saw the old life may not trust its answer
        self.process.kill()
        self.process.wait()


class IngestProcess:
    """Ingest in one process or several, with its servers.

    With ``synced=False`` the broker syncs as it does by default, every two minutes.
    """

    def __init__(self, root: Path, *, synced: bool = True, replicas: int = 1) -> None:
        self.root, self._synced = root, synced
        # Ports of its own: who reconnects looks for the servers where they were.
        self._ports = {name: claim_port(None, name) for name in ("postgres", "nats")}
        self.platform = self._platform()
        self.key = ""
        self.replicas = [Replica(number) for number in range(replicas)]

    @property
    def store(self) -> Path:
        return self.root / "store"

    def _platform(self) -> EmbeddedPlatform:
        made = EmbeddedPlatform(
            self.root,
            authorization=authorization,
            postgres_port=self._ports["postgres"],
            nats_port=self._ports["nats"],
        )
        if not self._synced:
            made.nats = EmbeddedNats(
                self.root / "nats",
                port=self._ports["nats"],
                log_path=made.log_dir / "nats.log",
                durable=False,
                run_dir=made.run_dir,
            )
        return made

    async def start(self) -> None:
        """Start what does not run; prepare the database and the streams the first time."""
        if not self.platform.parts["nats"].is_alive:
            await self.platform.start()
        seed = nkey_seed(self.platform.secrets, "bootstrap")
        if not self.key:
            password = self.platform.secrets.get("ingest.database-password")
            order = Order(
                admin_url=self.platform.dsn,
                passwords={"ingest": password},
                pepper=self.platform.secrets.get("ingest.key-pepper"),
                sources={SOURCE.id: {}},
            )
            keys, _ = await asyncio.gather(prepare(order), bootstrap(self.platform.nats_url, seed))
            self.key = keys[SOURCE.id]
        await asyncio.gather(*(self.start_ingest(each) for each in self.replicas))

    async def start_ingest(self, replica: Replica | None = None) -> None:
        """Start ingest (the first one if none is named) and return once it is ready."""
        replica = replica or self.replicas[0]
        secrets = self.platform.secrets
        password = secrets.get("ingest.database-password")
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")},
            "TOCSIN_HOST": LOOPBACK,
            "TOCSIN_PORT": str(replica.port),
            "TOCSIN_DATABASE_URL": as_role(self.platform.dsn, "ingest", password),
            "TOCSIN_NATS_URL": self.platform.nats_url,
            "TOCSIN_NATS_NKEY_SEED": nkey_seed(secrets, "ingest"),
            "TOCSIN_KEY_PEPPER_FILE": str(secrets.path("ingest.key-pepper")),
            "TOCSIN_INGEST_STORE_URL": str(self.store),
            "TOCSIN_INGEST_STORE_CACHE_DIRECTORY": str(self.root / f"cache-{replica.number}"),
            "TOCSIN_INGEST_STORE_BATCH_SECONDS": "0.5",
            "TOCSIN_INGEST_SYSLOG_TCP_PORT": str(replica.syslog_port),
            "TOCSIN_INGEST_SYSLOG_SENDERS": f'{{"{LOOPBACK}": "{SOURCE.id}"}}',
        }
        told = self.root / "log" / f"ingest-{replica.number}.log"
        with told.open("ab") as log:
            replica.process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        replica.life += 1

        async def ready() -> bool:
            assert replica.is_alive, told.read_text()[-2000:]
            try:
                async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                    return (await client.get(f"{replica.url}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await until(ready)

    async def kill_nats(self) -> None:
        """kill -9 of the broker, and a new one over the same files."""
        part = self.platform.parts["nats"]
        assert part.pid is not None
        os.kill(part.pid, signal.SIGKILL)
        await until(lambda: not part.is_alive)
        await part.start()

    def family(self) -> list[psutil.Process]:
        """Return every process of it, each with what it started itself."""
        parents = [part.pid for part in self.platform.parts.values()]
        parents += [r.process.pid for r in self.replicas if r.process and r.is_alive]
        found = [psutil.Process(pid) for pid in parents if pid is not None]
        return [each for parent in found for each in (parent, *parent.children(recursive=True))]

    def freeze(self) -> list[psutil.Process]:
        """Stop every process where it stands; from here on nothing is answered or written."""
        for replica in self.replicas:
            replica.life += 1
        family = self.family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        return family

    async def end(self, family: list[psutil.Process]) -> None:
        """End the frozen *family* for good; nothing of them gets to run again."""
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.to_thread(psutil.wait_procs, family, 20)
        for replica in self.replicas:
            if replica.process is not None:
                replica.process.wait()
        await self.platform.stop()  # gives the directory's lock back
        self.platform = self._platform()

    async def stop(self) -> None:
        """Stop everything in an orderly way."""
        for replica in self.replicas:
            if replica.process is not None and replica.is_alive:
                replica.process.terminate()
                await asyncio.to_thread(replica.process.wait, 60)
        await self.platform.stop()

    async def envelopes(self) -> list[Envelope]:
        """Return what EVENTS holds: everything, as no detect has taken anything from it."""
        seed = nkey_seed(self.platform.secrets, "bootstrap")
        client = await nats.connect(
            self.platform.nats_url, nkeys_seed_str=seed, inbox_prefix="_INBOX_bootstrap"
        )
        try:
            js = client.jetstream(timeout=30)
            state = (await js.stream_info("EVENTS")).state
            found: list[Envelope] = []
            numbers = range(max(1, state.first_seq), state.last_seq + 1)
            for start in range(0, len(numbers), 64):
                wanted = numbers[start : start + 64]
                for message in await asyncio.gather(*(js.get_msg("EVENTS", n) for n in wanted)):
                    found += decode_block(dict(message.headers or {}), message.data or b"")
            return found
        finally:
            await client.close()

    async def stored(self) -> list[str]:
        """Return the raw text of every event in the log store, repeats included."""
        connection = await asyncpg.connect(self.platform.dsn, timeout=10)
        try:
            rows = await connection.fetch(
                "SELECT path FROM ingest.store_files WHERE removed_at IS NULL"
            )
        finally:
            await connection.close()
        paths = [str(self.store / row["path"]) for row in rows]
        if not paths:
            return []
        found = duckdb.execute("SELECT raw FROM read_parquet($p)", {"p": paths}).fetchall()
        return [row[0] for row in found]


@asynccontextmanager
async def ingest_process(
    root: Path, *, synced: bool = True, replicas: int = 1
) -> AsyncIterator[IngestProcess]:
    """Yield a running one; stops it at the end."""
    made = IngestProcess(root, synced=synced, replicas=replicas)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
