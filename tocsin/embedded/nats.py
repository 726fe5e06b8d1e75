"""NATS with JetStream as a child process, every acknowledged message on disk."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tocsin.embedded import process
from tocsin.embedded.binaries import find_nats
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.full_disk import FullDisk, Verdict
from tocsin.embedded.orphans import mark
from tocsin.embedded.pids import look
from tocsin.embedded.ports import LOOPBACK, claim_port

MAX_PAYLOAD = 1024 * 1024
_STOP: process.Steps = ((signal.SIGINT, 10.0),)
_START_LIMIT = 15.0
_LOOK = 1 << 20
# Above this the garbage collector works harder; nothing is refused.
_HEAP = "160MiB"


class EmbeddedNats:
    """One nats-server on 127.0.0.1 over one store; may be started again after any end.

    `authorization` goes into the configuration file as it is. `port` None or 0 is a random free
    port, kept for later starts. With `run_dir`, whose lock the caller holds, a server that an
    earlier run left behind on the store is stopped first.
    """

    def __init__(
        self,
        store_dir: Path,
        *,
        port: int | None = None,
        authorization: str = "",
        monitor_port: int | None = None,
        log_path: Path | None = None,
        durable: bool = True,
        run_dir: Path | None = None,
        ready_limit: float = 30.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.store_dir = store_dir.resolve()
        self.authorization = authorization
        self.log_path = log_path or self.store_dir.with_name(f"{store_dir.name}.log")
        self.config_path = self.store_dir / "nats-server.conf"
        self._wanted_port = port or None
        self._port: int | None = None
        self._monitor_port = monitor_port
        self._durable = durable
        self._run_dir = run_dir
        self._ready_limit = ready_limit
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._disk = FullDisk()
        self._heard = 0  # so much of the log was looked through

    @property
    def is_alive(self) -> bool:
        """Does the server process run?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process id."""
        return self._process.pid if self._process is not None and self.is_alive else None

    @property
    def port(self) -> int:
        """The port it listens on, known from the first start."""
        if self._port is None:
            raise PlatformError("NATS was not started yet, so it has no port.")
        return self._port

    @property
    def url(self) -> str:
        """The address for clients, without credentials."""
        return f"nats://{LOOPBACK}:{self.port}"

    def disk(self) -> Verdict:
        """Tell whether it stands still for want of room, or did and may start anew."""
        try:
            free = shutil.disk_usage(self.store_dir).free
            with self.log_path.open("rb") as log:
                log.seek(min(self._heard, log.seek(0, os.SEEK_END)))
                said = log.read(_LOOK)
                self._heard = log.tell()
        except OSError:
            return Verdict.FINE  # it says nothing about room
        return self._disk.look(free, said)

    async def start(self) -> None:
        """Start the server and return when JetStream takes connections."""
        if self.is_alive:
            return
        await self._end_predecessor()
        give_up = time.monotonic() + _START_LIMIT
        while True:
            self._port = claim_port(self._wanted_port or self._port, "NATS")
            before = self._launch()
            if await self._until_ready():
                return
            await self.stop()
            said = process.tail(self.log_path, before)
            if "address already in use" not in said or time.monotonic() > give_up:
                raise PlatformError(f"NATS did not start ({self.log_path}): {said}")
            if self._wanted_port is None:
                self._port = None
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Shut down cleanly; kill it when that takes too long."""
        if self._process is not None:
            await process.end(self._process, _STOP)
            self._process = None

    def render(self) -> str:
        """Return the configuration file's text."""
        lines = [
            "server_name: tocsin",
            f"listen: {json.dumps(f'{LOOPBACK}:{self.port}')}",
            f"pid_file: {json.dumps(str(self._pid_file), ensure_ascii=False)}",
            f"max_payload: {MAX_PAYLOAD}",
            "jetstream {",
            f"  store_dir: {json.dumps(str(self.store_dir), ensure_ascii=False)}",
            "  max_memory_store: 64MB",
            # Streams reserve what they may grow to; a full disk is met where it is met, not here.
            "  max_file_store: 64GB",
        ]
        if self._durable:
            # The default syncs every two minutes: a power cut would take what was acknowledged.
            lines.append("  sync_interval: always")
        lines.append("}")
        if self._monitor_port:
            lines.append(f"http: {json.dumps(f'{LOOPBACK}:{self._monitor_port}')}")
        return "\n".join([*lines, self.authorization, ""])

    @property
    def _pid_file(self) -> Path:
        return self.store_dir / "nats-server.pid"

    def _launch(self) -> int:
        self.store_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write_config()
        before = process.size(self.log_path)
        self._heard = before
        with process.open_log(self.log_path) as log:
            self._process = process.spawn(
                [find_nats(), "-c", self.config_path],
                log=log,
                user=None,
                cwd=self.store_dir,
                extra={"GOMEMLIMIT": _HEAP, **mark(self._run_dir, "nats")},
            )
        return min(before, process.size(self.log_path))

    def _write_config(self) -> None:
        whole = self.config_path.with_suffix(".new")
        whole.unlink(missing_ok=True)
        fd = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(self.render())
        whole.replace(self.config_path)

    async def _end_predecessor(self) -> None:
        pid = self._live_predecessor()
        if pid is None:
            return
        if self._run_dir is None:
            raise PlatformError(f"Another NATS (pid {pid}) serves {self.store_dir} already.")
        self._say(f"stopping the NATS (pid {pid}) that an earlier run left behind")
        if not await process.end_stranger(pid, _STOP):
            raise PlatformError(f"The NATS left behind (pid {pid}) cannot be stopped.")

    def _live_predecessor(self) -> int | None:
        try:
            text = self._pid_file.read_text().strip()
        except FileNotFoundError:
            return None
        found = look(int(text)) if text.isdigit() else None
        ours = found is not None and found.names(self.config_path)
        return found.pid if found is not None and ours else None

    async def _until_ready(self) -> bool:
        assert self._process is not None  # noqa: S101 - _launch() was just called
        try:
            return await process.until_ready(self._process, self._answers, self._ready_limit)
        except BaseException:
            await self.stop()
            raise

    async def _answers(self) -> bool:
        """NATS greets every connection with what it is: JetStream must be on."""
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        except OSError:
            return False
        try:
            greeting = await asyncio.wait_for(reader.readline(), 2.0)
            info = json.loads(greeting.removeprefix(b"INFO "))
            return info.get("jetstream") is True and info.get("server_name") == "tocsin"
        except (OSError, TimeoutError, ValueError):
            return False
        finally:
            writer.close()
            await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        await asyncio.wait_for(writer.wait_closed(), 2.0)
    except (OSError, TimeoutError):
        return
