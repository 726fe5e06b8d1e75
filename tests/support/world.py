"""A world for integration tests: a migrated database of its own, a broker of its own, tokens."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import nats
import nats.js.errors
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.sealing.kek import load_keks
from services.cases.sealing.vault import Vault
from shared.bus import Bus
from shared.db import create_engine
from shared.ids import new_secret, uuid7
from shared.migrate import migrate
from shared.settings import ServiceSettings
from shared.topology import IDENTITIES, SERVICES, role_name
from tests.support.waiting import until
from tocsin.bootstrap import bootstrap
from tocsin.case_keys import new_master_key
from tocsin.embedded.nats import EmbeddedNats
from tocsin.embedded.postgres import EmbeddedPostgres
from tocsin.nats_config import new_nkey_seed, public_key, render_authorization
from tocsin.tokens import LocalIssuer

S = TypeVar("S", bound=ServiceSettings)
TEMPLATE = "tocsin_template"
_SERVICES = Path(__file__).resolve().parents[2] / "services"


class Cluster:
    """The session's PostgreSQL, with one migrated database that others are cloned from."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self.passwords: dict[str, str | None] = {s: new_secret(16) for s in SERVICES}

    async def prepare(self) -> None:
        await self.sql(f"CREATE DATABASE {TEMPLATE}")
        await migrate(
            self.dsn(TEMPLATE),
            {s: p for s, p in self.passwords.items() if (_SERVICES / s / "migrations").is_dir()},
        )

    def dsn(self, database: str, user: str | None = None, password: str | None = None) -> str:
        where = f"127.0.0.1:{self.postgres.port}/{database}"
        if user is None:
            return self.postgres.dsn.rsplit("/", 1)[0] + f"/{database}"
        return f"postgresql://{user}:{password}@{where}"

    async def sql(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class World:
    """What an integration test may use; `tests/conftest.py` makes one for each module."""

    def __init__(self, cluster: Cluster, broker: EmbeddedNats, folder: Path) -> None:
        self.cluster = cluster
        self.broker = broker
        self.database = f"w_{uuid7().hex}"
        self.issuer = LocalIssuer(folder)
        self.master_key_file = folder / "master.key"
        self.master_key_file.write_text(new_master_key())
        self._vault: Vault | None = None
        self._engines: dict[str, AsyncEngine] = {}
        self.seeds: dict[str, str] = {}

    @property
    def nats_url(self) -> str:
        return self.broker.url

    @property
    def admin_dsn(self) -> str:
        return self.cluster.dsn(self.database)

    def service_dsn(self, service: str) -> str:
        return self.cluster.dsn(
            self.database, role_name(service), self.cluster.passwords[service] or ""
        )

    def settings(self, cls: type[S], **overrides: Any) -> S:
        """Return settings of *cls* that point into this world."""
        values: dict[str, Any] = {
            "database_url": SecretStr(self.service_dsn(cls.service)),
            "nats_url": self.nats_url,
            "nats_nkey_seed": SecretStr(self.seeds[cls.service]),
            "jwks_file": self.issuer.jwks_file,
            "drain_seconds": 2.0,
        }
        if "master_key_file" in cls.model_fields:
            values["master_key_file"] = self.master_key_file
        return cls(**{**values, **overrides})

    @property
    def vault(self) -> Vault:
        """Return the keys under which cases seals; one for the whole world."""
        if self._vault is None:
            self._vault = Vault(self.engine("cases"), load_keks(self.master_key_file))
        return self._vault

    def token(self, subject: str, *roles: str, tenant: str | None = None) -> str:
        return self.issuer.issue(subject, roles, tenant=tenant)

    def engine(self, service: str) -> AsyncEngine:
        """Return an engine with the role of *service*."""
        if service not in self._engines:
            self._engines[service] = create_engine(self.service_dsn(service), service)
        return self._engines[service]

    @asynccontextmanager
    async def bus(self, identity: str) -> AsyncIterator[Bus]:
        """Yield a connected bus that speaks as *identity*."""
        async with Bus(self.nats_url, identity, self.seeds[identity]) as bus:
            await bus.wait_connected(5)
            yield bus

    async def messages(self, stream: str) -> list[tuple[str, dict[str, str], bytes]]:
        """Return everything in *stream*, oldest first."""
        client = await nats.connect(
            self.nats_url,
            nkeys_seed_str=self.seeds["bootstrap"],
            inbox_prefix="_INBOX_bootstrap",
        )
        try:
            js = client.jetstream()
            state = (await js.stream_info(stream)).state
            found = []
            for seq in range(max(1, state.first_seq), state.last_seq + 1):
                try:
                    message = await js.get_msg(stream, seq)
                except nats.js.errors.NotFoundError:  # every consumer has had it
                    continue
                found.append(
                    (message.subject or "", dict(message.headers or {}), message.data or b"")
                )
            return found
        finally:
            await client.close()

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
        """Serve *app* on a real port in this process; yield a client for it."""
        server = uvicorn.Server(
            uvicorn.Config(
                app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2
            )
        )
        task = asyncio.create_task(server.serve())
        try:
            await until(lambda: server.started or task.done())
            if task.done():
                await task
            port = server.servers[0].sockets[0].getsockname()[1]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            await task

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()


@asynccontextmanager
async def open_world(cluster: Cluster, *, durable: bool = False) -> AsyncIterator[World]:
    """Yield a fresh world in *cluster*."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-world-")))
        broker = EmbeddedNats(folder / "nats", durable=durable)
        world = World(cluster, broker, folder)
        world.seeds = {identity: new_nkey_seed() for identity in IDENTITIES}
        broker.authorization = render_authorization(
            {identity: public_key(seed) for identity, seed in world.seeds.items()}
        )
        await broker.start()
        stack.push_async_callback(broker.stop)
        await bootstrap(broker.url, world.seeds["bootstrap"])
        await cluster.sql(f"CREATE DATABASE {world.database} TEMPLATE {TEMPLATE}")
        stack.push_async_callback(
            cluster.sql, f"DROP DATABASE IF EXISTS {world.database} WITH (FORCE)"
        )
        stack.push_async_callback(world.close)
        yield world
