"""The whole platform on one machine: PostgreSQL, NATS, migrations, streams and five services."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from shared.ids import jitter
from shared.topology import IDENTITIES, SERVICES, role_name
from tocsin.bootstrap import bootstrap
from tocsin.case_keys import MASTER_KEY, new_log_key, new_master_key
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.platform import EmbeddedPlatform
from tocsin.embedded.ports import LOOPBACK, claim_port
from tocsin.embedded.secret_files import SecretFiles
from tocsin.home import Home, Running
from tocsin.nats_config import new_nkey_seed, public_key, render_authorization
from tocsin.prepare import Order, prepare
from tocsin.supervisor import Child, Event, Supervisor
from tocsin.tokens import LocalIssuer

__all__ = [
    "LOCAL_SOURCE", "PORTS", "Stack", "StackOptions", "as_role", "authorization", "key_file",
    "nkey_seed",
]  # fmt: skip

PORTS: Mapping[str, int] = dict(zip(SERVICES, range(8080, 8085), strict=True))
LOCAL_SOURCE = "local"  # what `tocsin send` sends as
READY_LIMIT = 120.0  # loading thousands of rules takes a while on a small machine

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What may differ between `up`, the demo and the tests."""

    root: Path
    random_ports: bool = False
    durable: bool = True
    database_url: str | None = None
    nats_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {LOCAL_SOURCE: {}})
    """Log sources that get a key, by name, with their labels."""
    on_event: Callable[[Event], None] = lambda event: None
    say: Say = lambda line: None


def nkey_seed(secrets: SecretFiles, identity: str) -> str:
    """Return the NATS seed of *identity*, made the first time it is asked for."""
    path = secrets.path(f"nats.{identity}.nkey")
    return path.read_text().strip() if path.exists() else secrets.put(path.name, new_nkey_seed())


def key_file(source: str) -> str:
    """Return the name of the secret that holds the API key of *source*."""
    return f"source.{source}.key"


def log_key(secrets: SecretFiles) -> Path:
    """Return the file of the key that signs the log, made the first time it is asked for."""
    path = secrets.path("cases.log-key")
    if not path.exists():
        secrets.put(path.name, new_log_key())
    return path


def master_key(secrets: SecretFiles) -> Path:
    """Return the file of the key that wraps the data keys, made the first time it is asked for."""
    path = secrets.path(MASTER_KEY)
    if not path.exists():
        secrets.put(path.name, new_master_key())
    return path


def authorization(secrets: SecretFiles) -> str:
    """Return the block of the broker's configuration that admits our identities and nobody else."""
    keys = {identity: public_key(nkey_seed(secrets, identity)) for identity in IDENTITIES}
    return render_authorization(keys)


class Stack:
    """Starts everything, watches over it, and stops everything (an async context manager)."""

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.home = Home(options.root.resolve())
        self.timings: dict[str, float] = {}
        self.supervisor: Supervisor | None = None
        self._platform = EmbeddedPlatform(
            self.home.root,
            authorization=authorization,
            database_url=options.database_url,
            nats_url=options.nats_url,
            durable=options.durable,
            say=options.say,
        )
        self._exit = AsyncExitStack()
        self.urls: dict[str, str] = {}

    def key(self, source: str) -> str:
        """Return the API key of one of the sources that the options name."""
        return self.home.secrets.path(key_file(source)).read_text().strip()

    @property
    def platform(self) -> EmbeddedPlatform:
        return self._platform

    async def __aenter__(self) -> Self:
        try:
            await self._timed("servers", self._start_servers())
            await self._timed("schema", self._prepare())
            self.issuer = LocalIssuer(self.home.keys)
            await self._timed("services", self._start_services())
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _timed(self, name: str, work: Awaitable[None]) -> None:
        started = time.monotonic()
        await work
        self.timings[name] = round(time.monotonic() - started, 2)

    async def _start_servers(self) -> None:
        self.options.say("starting PostgreSQL and NATS")
        await self._exit.enter_async_context(self._platform)
        keeping = asyncio.create_task(
            self._platform.keep_running(lambda name, state: self.options.say(f"{name}: {state}"))
        )
        self._exit.push_async_callback(_cancel, keeping)

    async def _prepare(self) -> None:
        self.options.say("migrating the database, declaring streams")
        passwords: dict[str, str | None] = {
            service: self.home.secrets.get(f"{service}.database-password") for service in SERVICES
        }
        order = Order(
            admin_url=self._platform.dsn,
            passwords=passwords,
            pepper=self.home.secrets.get("ingest.key-pepper"),
            sources={
                name: labels
                for name, labels in self.options.sources.items()
                if not self.home.secrets.path(key_file(name)).exists()
            },
        )
        seed = nkey_seed(self.home.secrets, "bootstrap")
        keys, _ = await asyncio.gather(prepare(order), bootstrap(self._platform.nats_url, seed))
        for name, key in keys.items():
            self.home.secrets.put(key_file(name), key)
        for service, password in passwords.items():
            self.home.secrets.put(
                f"{service}.database-url", as_role(self._platform.dsn, service, password or "")
            )

    async def _start_services(self) -> None:
        self.options.say("starting the five services")
        ports = {
            name: claim_port(None if self.options.random_ports else port, name)
            for name, port in PORTS.items()
        }
        self.urls = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
        children = [self._child(service, ports[service]) for service in SERVICES]
        self.supervisor = Supervisor(
            children,
            jitter=lambda: jitter(1.0),
            on_event=self.options.on_event,
            run_dir=self._platform.run_dir,
        )
        self.supervisor.start()
        self._exit.push_async_callback(self.supervisor.stop, order=SERVICES)
        self.home.write_running(
            Running(
                os.getpid(),
                self.urls,
                self._platform.nats_url,
                urlsplit(self._platform.dsn).netloc.rpartition("@")[2],
            )
        )
        self._exit.callback(self.home.forget_running)
        await self.supervisor.wait_ready(READY_LIMIT)

    def _child(self, service: str, port: int) -> Child:
        secrets = self.home.secrets
        # Settings that are addressed to one service pass through; the platform's own are ours.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TOCSIN_")
            or name.startswith(tuple(f"TOCSIN_{s.upper()}_" for s in SERVICES))
            or name in {"TOCSIN_LOG_LEVEL", "TOCSIN_OIDC_ISSUER", "TOCSIN_ROLE_MAP"}
        }
        defaults = {
            "TOCSIN_CASES_EVIDENCE_DIR": str(self.home.evidence),
            "TOCSIN_INGEST_STORE_URL": str(self.home.store),
            "TOCSIN_INGEST_STORE_CACHE_DIRECTORY": str(self.home.store_cache),
            "TOCSIN_DETECT_CACHE_DIRECTORY": str(self.home.rule_cache),
        }
        ours = {
            "TOCSIN_HOST": LOOPBACK,
            "TOCSIN_PORT": str(port),
            "TOCSIN_DATABASE_URL_FILE": str(secrets.path(f"{service}.database-url")),
            "TOCSIN_NATS_URL": self._platform.nats_url,
            "TOCSIN_NATS_NKEY_SEED_FILE": str(secrets.path(f"nats.{service}.nkey")),
            "TOCSIN_JWKS_FILE": str(self.issuer.jwks_file),
            "TOCSIN_KEY_PEPPER_FILE": str(secrets.path("ingest.key-pepper")),
            "TOCSIN_LOG_KEY_FILE": str(log_key(secrets)),
            "TOCSIN_MASTER_KEY_FILE": str(master_key(secrets)),
            "PYTHONUNBUFFERED": "1",
        }
        return Child(
            name=service,
            argv=(sys.executable, "-m", f"services.{service}"),
            env={**defaults, **inherited, **self.options.environment, **ours},
            ready=lambda: _is_ready(f"http://{LOOPBACK}:{port}/readyz"),
            log_path=self.home.logs / f"{service}.log",
        )


async def _is_ready(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


def as_role(admin_dsn: str, service: str, password: str) -> str:
    """Return the address of the database for the role of *service*."""
    parts = urlsplit(admin_dsn)
    place = parts.netloc.rpartition("@")[2]
    login = f"{role_name(service)}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{place}"))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()):
        raise PlatformError(str(error)) from error
