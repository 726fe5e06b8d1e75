"""kill -9 of `tocsin send` in mid-file, again and again: nothing missing, nothing doubled."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from services.ingest.envelope import keyed_event_id
from services.ingest.framing import frame_text
from services.ingest.sources import Source
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
KILLS = int(os.environ.get("TOCSIN_KILL_ROUNDS", "2"))
SOURCE = Source(id="here")


class Door:
    """Answers `POST /v1/events` as ingest does: what it has seen under its id is a duplicate."""

    def __init__(self) -> None:
        self.port = 0
        self.lines: list[str] = []
        self.seen: set[object] = set()
        self.requests = 0
        self.waits: Callable[[], bool] = lambda: False
        self._chance = random.Random(7)  # noqa: S311 - a test's course

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(
                    line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:-2]
                )
                body = await reader.readexactly(int(headers["content-length"]))
                await asyncio.sleep(0.02)
                await until(lambda: not self.waits())
                answer = self._take(headers["idempotency-key"], body)
                # Now and then the answer is lost on its way, or it is a refusal.
                if self._chance.random() < 0.1:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _take(self, key: str, body: bytes) -> bytes:
        self.requests += 1
        if self._chance.random() < 0.1:
            return b"HTTP/1.1 503 x\r\nretry-after: 0\r\ncontent-length: 2\r\n\r\n{}"
        fresh = 0
        items = frame_text(body)
        for item in items:
            identity = keyed_event_id(SOURCE, key, item)
            if identity not in self.seen:
                self.seen.add(identity)
                self.lines.append(item.data.decode())
                fresh += 1
        known = len(items) - fresh
        told = f'{{"accepted":{fresh},"duplicates":{known},"quarantined":0}}'.encode()
        return b"HTTP/1.1 202 x\r\ncontent-length: %d\r\n\r\n%s" % (len(told), told)


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0, limit=8 << 20)
    door.port = server.sockets[0].getsockname()[1]
    yield door
    server.close()


def command(door: Door, file: Path, *more: str) -> list[str]:
    key = f"tocsin_k1_{'s' * 43}"
    place = ["--home", str(file.parent / "home"), "--url", f"http://127.0.0.1:{door.port}"]
    return [sys.executable, "-m", "tocsin", "send", str(file), *place, "--key", key, *more]


async def started(arguments: list[str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)


async def killed_after(
    door: Door, process: asyncio.subprocess.Process, requests: int, home: Path
) -> None:
    """Kill *process* in mid-file: once *home* holds how far it came. The door then takes nothing
    more, so that nobody can be so quick as to be done before the kill."""
    aim = door.requests + requests

    def reached() -> bool:
        return door.requests >= aim and any((home / "send").glob("*.json"))

    door.waits = reached
    await until(lambda: reached() or process.returncode is not None)
    assert process.returncode is None
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    door.waits = lambda: False


async def test_a_file_is_sent_whole_over_kills(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    lines = [f"line {n} of a file" for n in range(40_000)]
    file.write_text("\n".join(lines) + "\n")
    for round_ in range(KILLS):
        await killed_after(door, await started(command(door, file)), 3 + round_, tmp_path / "home")
    states = list((tmp_path / "home" / "send").glob("file-*.json"))
    assert len(states) == 1  # the next one goes on, it does not begin again
    process = await started(command(door, file))
    out, err = await process.communicate()
    assert process.returncode == 0, (out, err)
    assert sorted(door.lines) == sorted(lines)
    assert not list((tmp_path / "home" / "send").iterdir())


async def test_a_followed_file_is_sent_whole_over_kills_and_rotation(
    door: Door, tmp_path: Path
) -> None:
    file = tmp_path / "app.log"
    lines: list[str] = []

    def write(count: int) -> None:
        fresh = [f"line {len(lines) + n}" for n in range(count)]
        lines.extend(fresh)
        with file.open("a") as log:
            log.write("\n".join(fresh) + "\n")

    write(2000)
    follow = command(door, file, "--follow")
    for round_ in range(KILLS):
        process = await started(follow)
        await killed_after(door, process, 2, tmp_path / "home")
        write(1500)
        file.rename(f"{file}.{round_}")
        write(700)
    process = await started(follow)
    await until(lambda: len(door.lines) >= len(lines), 90)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"goes on from here" in out
    assert b"Traceback" not in err
    assert door.lines == lines
