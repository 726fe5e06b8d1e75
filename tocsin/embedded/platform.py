"""The whole embedded platform: one data directory, its lock, its secrets, PostgreSQL and NATS."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tocsin.embedded.full_disk import ROOM, Verdict
from tocsin.embedded.lock import DirectoryLock
from tocsin.embedded.nats import EmbeddedNats
from tocsin.embedded.orphans import end_orphans
from tocsin.embedded.postgres import EmbeddedPostgres
from tocsin.embedded.secret_files import SecretFiles
from tocsin.embedded.spare import SPARE

Say = Callable[[str], None]
_FIRST_WAIT, _LONGEST_WAIT, _LOOK_EVERY = 0.2, 10.0, 0.1
_ROOM_EVERY = 1.0


class EmbeddedPlatform:
    """PostgreSQL and NATS over `root` (usually `.tocsin`), as an async context manager.

    With `database_url` or `nats_url` (the operator's own) that server is not started. A callable
    `authorization` is given the secrets and returns the text for NATS' configuration file.
    `durable=False` is for tests that never cut the power.
    """

    def __init__(
        self,
        root: Path,
        *,
        postgres_port: int | None = None,
        nats_port: int | None = None,
        authorization: str | Callable[[SecretFiles], str] = "",
        database_url: str | None = None,
        nats_url: str | None = None,
        durable: bool = True,
        spare: Path = SPARE,
        say: Say = lambda line: None,
    ) -> None:
        self.root = root.resolve()
        self.secrets = SecretFiles(self.root / "secrets")
        self.log_dir = self.root / "log"
        self.run_dir = self.root / "run"
        self._authorization = authorization
        self._database_url = database_url
        self._nats_url = nats_url
        self._lock = DirectoryLock(self.root)
        self._say = say
        self.postgres: EmbeddedPostgres | None = None
        if database_url is None:
            self.postgres = EmbeddedPostgres(
                self.root / "postgres",
                port=postgres_port,
                password="",  # read from the secrets under the lock
                log_path=self.log_dir / "postgres.log",
                durable=durable,
                run_dir=self.run_dir,
                spare=spare,
                say=say,
            )
        self.nats: EmbeddedNats | None = None
        if nats_url is None:
            self.nats = EmbeddedNats(
                self.root / "nats",
                port=nats_port,
                log_path=self.log_dir / "nats.log",
                durable=durable,
                run_dir=self.run_dir,
                say=say,
            )

    @property
    def dsn(self) -> str:
        """The administrator's address of the database."""
        return self.postgres.dsn if self.postgres is not None else str(self._database_url)

    @property
    def nats_url(self) -> str:
        """The address of NATS, without credentials."""
        return self.nats.url if self.nats is not None else str(self._nats_url)

    @property
    def parts(self) -> dict[str, EmbeddedPostgres | EmbeddedNats]:
        """The servers that this platform runs, by name."""
        return {
            name: part
            for name, part in (("postgres", self.postgres), ("nats", self.nats))
            if part is not None
        }

    async def start(self) -> None:
        """Lock the directory, end what an earlier run left behind, start both servers."""
        self._make_root()
        self._lock.acquire()
        try:
            await end_orphans(self.run_dir, self._say)
            self._read_secrets()
            async with asyncio.TaskGroup() as group:
                for part in self.parts.values():
                    group.create_task(part.start())
        except BaseException as error:
            await self.stop()
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    async def stop(self) -> None:
        """Stop both servers and give the lock back."""
        try:
            await asyncio.gather(*(part.stop() for part in self.parts.values()))
        finally:
            self._lock.release()

    async def keep_running(self, on_event: Callable[[str, str], None] | None = None) -> None:
        """Start a server again whenever it dies; runs until it is cancelled.

        `on_event(name, state)` hears `exited`, `ready` and the sentence of a failed start.
        """
        tell = on_event or (lambda name, state: None)
        async with asyncio.TaskGroup() as group:
            for name, part in self.parts.items():
                group.create_task(_keep(name, part, tell))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def remove(self) -> None:
        """Delete the stopped platform's data, in the spare place too."""
        if self.postgres is not None and self.postgres.home.parent != self.root:
            shutil.rmtree(self.postgres.home.parent, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def _make_root(self) -> None:
        # 0711: the user PostgreSQL runs as passes through, and can list nothing.
        if not self.root.exists():
            self.root.mkdir(parents=True)
            self.root.chmod(0o711)
        for folder in (self.secrets.folder, self.log_dir, self.run_dir):
            folder.mkdir(mode=0o700, exist_ok=True)

    def _read_secrets(self) -> None:
        if self.postgres is not None:
            self.postgres.password = self.secrets.get("postgres-admin")
        given = self._authorization
        text = given if isinstance(given, str) else given(self.secrets)
        if self.nats is not None:
            self.nats.authorization = text


@contextlib.asynccontextmanager
async def temporary_platform(
    *,
    authorization: str | Callable[[SecretFiles], str] = "",
    database_url: str | None = None,
    durable: bool = False,
    say: Say = lambda line: None,
) -> AsyncIterator[EmbeddedPlatform]:
    """Run a platform in a directory of its own on random ports, and delete it afterwards."""
    platform = EmbeddedPlatform(
        _temporary_root(),
        authorization=authorization,
        database_url=database_url,
        durable=durable,
        say=say,
    )
    try:
        async with platform:
            yield platform
    finally:
        platform.remove()


def _temporary_root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="tocsin-"))
    root.chmod(0o711)
    return root


async def _keep(
    name: str, part: EmbeddedPostgres | EmbeddedNats, tell: Callable[[str, str], None]
) -> None:
    wait = _FIRST_WAIT
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        if part.is_alive:
            if not (isinstance(part, EmbeddedNats) and await _until_room(name, part, tell)):
                continue
            tell(name, "there is room again; starting anew")
            await part.stop()
        else:
            tell(name, "exited")
        try:
            await part.start()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told and tried again
            tell(name, str(error))
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
        else:
            tell(name, "ready")
            wait = _FIRST_WAIT


async def _until_room(name: str, part: EmbeddedNats, tell: Callable[[str, str], None]) -> bool:
    """Tell whether it met a full disk and there is room again; wait for that as long as it runs."""
    told = False
    while (verdict := await asyncio.to_thread(part.disk)) is Verdict.FULL and part.is_alive:
        if not told:
            tell(
                name,
                f"the disk of {part.store_dir} is full, nothing is taken;"
                f" it goes on by itself once {ROOM >> 20} MiB are free",
            )
            told = True
        await asyncio.sleep(_ROOM_EVERY)
    return verdict is Verdict.ANEW
