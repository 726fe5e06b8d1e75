"""Children that outlived a killed `tocsin up`: known by a record and a mark, ended at the next.

The record (`<run_dir>/<name>.json`) works everywhere, but a kill between the start of a child and
the record leaves none. The mark closes that window on Linux: it is in the child's environment
from its first moment, and the kernel shows it.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from tocsin.embedded import process
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.pids import look

_MARK = "TOCSIN_CHILD"
_SERVICE: process.Steps = ((signal.SIGTERM, 10.0),)
# Ended after the services, which use them, and in their own way.
_SERVERS: dict[str, process.Steps] = {
    "nats": ((signal.SIGINT, 10.0),),
    "postgres": ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)),
}


def mark(run_dir: Path | None, name: str) -> dict[str, str]:
    """Return the variable that goes into a child's environment."""
    return {} if run_dir is None else {_MARK: f"{run_dir}:{name}"}


def record_child(run_dir: Path, name: str, pid: int) -> None:
    """Write down a child with its start time: an id given to another process has another one."""
    found = look(pid)
    if found is None:  # gone already: nothing can outlive us
        return
    note = {"name": name, "pid": pid, "started": found.started, "command": found.command}
    whole = run_dir / f".{name}.new"
    whole.write_text(json.dumps(note) + "\n")
    whole.replace(run_dir / f"{name}.json")


def forget_child(run_dir: Path, name: str) -> None:
    """Remove the record of a child that ended."""
    (run_dir / f"{name}.json").unlink(missing_ok=True)


async def end_orphans(run_dir: Path, say: Callable[[str], None]) -> list[str]:
    """End every child that is still ours and alive; return their names.

    Only the holder of the directory's lock may call this: then no `tocsin up` owns them.
    """
    found = {**_recorded(run_dir), **_marked(run_dir)}
    services = {pid: name for pid, name in found.items() if name not in _SERVERS}
    servers = {pid: name for pid, name in found.items() if name in _SERVERS}
    for children in (services, servers):
        await asyncio.gather(*(_end(pid, name, say) for pid, name in children.items()))
    _forget_all(run_dir)
    return sorted(found.values())


def _forget_all(run_dir: Path) -> None:
    for path in run_dir.glob("*.json"):
        path.unlink(missing_ok=True)


async def _end(pid: int, name: str, say: Callable[[str], None]) -> None:
    say(f"stopping {name} (pid {pid}), which an earlier run left behind")
    if not await process.end_stranger(pid, _SERVERS.get(name, _SERVICE)):
        raise PlatformError(f"The process {name} left behind (pid {pid}) cannot be stopped.")
    if name not in _SERVERS:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)  # what it started itself; it led its own session


def _recorded(run_dir: Path) -> dict[int, str]:
    ours: dict[int, str] = {}
    for path in run_dir.glob("*.json"):
        try:
            note = json.loads(path.read_text())
            now = look(int(note["pid"]))
        except (ValueError, KeyError, TypeError):  # cut short by a crash
            continue
        # The command is recorded for people only: a child may rename itself.
        if now is not None and now.started == note["started"]:
            ours[now.pid] = path.stem
    return ours


def _marked(run_dir: Path) -> dict[int, str]:
    """Return the processes that carry our mark, without those that a marked one started."""
    wanted = f"{_MARK}={run_dir}:".encode()
    found: dict[int, str] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or another user's
            continue
        names = [each.removeprefix(wanted) for each in variables if each.startswith(wanted)]
        now = look(int(folder.name)) if names else None
        if now is not None:
            found[now.pid], parents[now.pid] = names[0].decode(errors="replace"), now.parent
    return {pid: name for pid, name in found.items() if parents[pid] not in found}
