"""The platform as a whole: its lock, its secrets, and starts after every kind of kill."""

import asyncio
import json
import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tocsin.embedded.errors import PlatformError
from tocsin.embedded.orphans import _marked, end_orphans, mark, record_child
from tocsin.embedded.pids import look
from tocsin.embedded.platform import EmbeddedPlatform, temporary_platform
from tocsin.embedded.process import until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("parents_unchanged")]

# Everything is imported before the privileges are dropped: the interpreter may lie in a home
# that an ordinary user cannot enter.
HOLDER = """
import asyncio, json, os, signal, sys, encodings.idna, asyncpg
# Ctrl-C is ignored by what a shell starts in the background, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from tocsin.embedded.platform import EmbeddedPlatform

async def main(root):
    async with EmbeddedPlatform(root, durable=False) as platform:
        connection = await asyncpg.connect(platform.dsn, ssl=False)
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        rows = await connection.fetchval("SELECT count(*) FROM kept")
        await connection.close()
        pids = [part.pid for part in platform.parts.values()]
        print(json.dumps({"pids": pids, "rows": rows, "uid": os.geteuid()}), flush=True)
        await asyncio.Event().wait()

if len(sys.argv) > 2:
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
asyncio.run(main(Path(sys.argv[1])))
"""

Holder = tuple["subprocess.Popen[str]", dict[str, object]]


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    """Start another process that runs a platform over a directory."""
    started: list[subprocess.Popen[str]] = []

    def start(root: Path, *arguments: str) -> Holder:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(root), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(root.parent)},
        )
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


async def count(platform: EmbeddedPlatform) -> object:
    connection = await asyncpg.connect(platform.dsn, ssl=False)
    try:
        return await connection.fetchval("SELECT count(*) FROM kept")
    finally:
        await connection.close()


async def test_a_temporary_platform_leaves_nothing_behind() -> None:
    async with temporary_platform() as platform:
        pids = [part.pid for part in platform.parts.values()]
        assert platform.nats_url.startswith("nats://127.0.0.1:")
    assert not platform.root.exists()
    assert [look(pid or 0) for pid in pids] == [None, None]


async def test_secrets_are_made_once_and_only_the_owner_reads_them(open_dir: Path) -> None:
    platform = EmbeddedPlatform(open_dir / ".tocsin", database_url="postgresql://elsewhere/")
    async with platform:
        first = platform.secrets.get("cases-role")
        assert platform.dsn == "postgresql://elsewhere/"
    assert platform.secrets.get("cases-role") == first
    assert stat.S_IMODE(platform.secrets.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(platform.secrets.path("cases-role").stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="no name for a secret"):
        platform.secrets.get("../escape")


async def test_authorization_is_rendered_from_the_secrets(open_dir: Path) -> None:
    platform = EmbeddedPlatform(
        open_dir / ".tocsin",
        database_url="postgresql://elsewhere/",
        authorization=lambda secrets: (
            f'authorization {{ user: a, password: "{secrets.get("nats-a")}" }}'
        ),
    )
    async with platform:
        assert platform.nats is not None
        assert platform.secrets.get("nats-a") in platform.nats.config_path.read_text()


async def test_a_second_platform_on_the_directory_is_refused(
    open_dir: Path, hold: Callable[..., Holder]
) -> None:
    root = open_dir / ".tocsin"
    process, _ = hold(root)
    with pytest.raises(PlatformError, match=rf"in use by another Tocsin \(pid {process.pid}\)"):
        await EmbeddedPlatform(root).start()


async def test_a_start_after_kill_of_the_parent_alone_continues(
    open_dir: Path, hold: Callable[..., Holder]
) -> None:
    root = open_dir / ".tocsin"
    process, before = hold(root)
    process.kill()
    process.wait()
    said: list[str] = []
    async with EmbeddedPlatform(root, durable=False, say=said.append) as platform:
        assert await count(platform) == 1
        assert sum("left behind" in line for line in said) == 2
        pids = before["pids"]
        assert isinstance(pids, list)
        assert [look(pid) for pid in pids] == [None, None]


async def test_a_start_after_kill_of_everything_continues(
    open_dir: Path, hold: Callable[..., Holder]
) -> None:
    root = open_dir / ".tocsin"
    process, before = hold(root)
    pids = before["pids"]
    assert isinstance(pids, list)
    for pid in (process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    async with EmbeddedPlatform(root, durable=False) as platform:
        assert await count(platform) == 1


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4])
async def test_a_start_after_a_kill_in_the_middle_of_a_start_works(
    open_dir: Path, moment: float
) -> None:
    root = open_dir / ".tocsin"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], stdout=subprocess.DEVNULL)
    assert await until(root.exists)
    # Not a wait for anything: the moment of the kill is what varies.
    await until(lambda: False, moment)
    process.kill()
    process.wait()
    async with EmbeddedPlatform(root, durable=False) as platform:
        connection = await asyncpg.connect(platform.dsn, ssl=False)
        await connection.close()
        ours = [part.pid for part in platform.parts.values()]
        assert sorted(_marked(platform.run_dir)) == sorted(pid or 0 for pid in ours)
    assert not list(root.glob(".postgres*"))
    assert not _marked(platform.run_dir)


async def test_as_root_and_then_as_an_ordinary_user(
    open_dir: Path, hold: Callable[..., Holder]
) -> None:
    # PostgreSQL wants the user to have a name; root itself would choose `nobody`.
    uid = next(u.pw_uid for u in pwd.getpwall() if u.pw_uid and u.pw_name != "nobody")
    root = open_dir / "ordinary" / ".tocsin"
    root.parent.mkdir()
    os.chown(root.parent, uid, uid)
    root.parent.chmod(0o700)
    process, seen = hold(root, str(uid))
    assert seen["uid"] == uid
    assert (root / "postgres").stat().st_uid == uid
    process.kill()
    process.wait()
    # Root may take over: the data stay their owner's, whose server goes on with them.
    async with EmbeddedPlatform(root, durable=False) as platform:
        assert await count(platform) == 1
        assert platform.postgres is not None
        assert platform.postgres.home == root / "postgres"


async def test_a_dead_server_is_started_again(open_dir: Path) -> None:
    async with EmbeddedPlatform(open_dir / ".tocsin", durable=False) as platform:
        events: list[tuple[str, str]] = []
        keeper = asyncio.create_task(platform.keep_running(lambda *event: events.append(event)))
        for part in platform.parts.values():
            assert part.pid is not None
            os.kill(part.pid, signal.SIGKILL)
        again = {("postgres", "ready"), ("nats", "ready")}
        assert await until(lambda: again <= set(events))
        connection = await asyncpg.connect(platform.dsn, ssl=False)
        await connection.close()
        keeper.cancel()
        await asyncio.wait([keeper])


async def test_only_children_that_are_truly_ours_are_ended(tmp_path: Path) -> None:
    children = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2)]
    orphan, stranger = children
    try:
        record_child(tmp_path, "orphan", orphan.pid)
        record_child(tmp_path, "stranger", stranger.pid)
        note = json.loads((tmp_path / "stranger.json").read_text())
        (tmp_path / "stranger.json").write_text(json.dumps({**note, "started": "earlier"}))
        (tmp_path / "torn.json").write_text('{"pid": ')
        assert await end_orphans(tmp_path, lambda line: None) == ["orphan"]
        assert orphan.wait(timeout=60) == -signal.SIGTERM
        assert stranger.poll() is None
        assert list(tmp_path.iterdir()) == []
    finally:
        for child in children:
            child.kill()
            child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not show the environment")
async def test_a_child_is_ended_even_if_the_kill_came_before_its_record(tmp_path: Path) -> None:
    child = subprocess.Popen(
        ["sleep", "60"], start_new_session=True, env=mark(tmp_path, "unrecorded")
    )
    try:
        assert await end_orphans(tmp_path, lambda line: None) == ["unrecorded"]
        assert child.wait(timeout=60) == -signal.SIGTERM
    finally:
        child.kill()
        child.wait()
