"""What a process id stands for now, so that a reused id is never taken for our child."""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_STATE, _PARENT, _STARTED = 0, 1, 19  # fields of /proc/<pid>/stat behind the command name


@dataclass(frozen=True, slots=True)
class Process:
    """A living process: `started` together with the id names it for good."""

    pid: int
    started: str
    command: str
    parent: int

    def names(self, path: Path) -> bool:
        """Is `path` one of the arguments?"""
        return f" {path} " in f" {self.command} "


def look(pid: int) -> Process | None:
    """Return the process with this id, or None when it is gone or only a zombie."""
    if pid <= 0:
        return None
    return _look_in_proc(pid) if sys.platform == "linux" else _look_with_ps(pid)


def _look_in_proc(pid: int) -> Process | None:
    folder = Path("/proc") / str(pid)
    try:
        # The command name may hold blanks and brackets: the fields begin after the last one.
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        argv = (folder / "cmdline").read_bytes()
    except OSError:
        return None
    if fields[_STATE] in "ZX":
        return None
    command = argv.replace(b"\0", b" ").decode(errors="replace").strip()
    return Process(pid, f"{_boot_id()}:{fields[_STARTED]}", command, int(fields[_PARENT]))


@cache
def _boot_id() -> str:
    """Start times count from the boot, so the boot is a part of them."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _look_with_ps(pid: int) -> Process | None:
    ps = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", "state=,ppid=,lstart=,command="],
        capture_output=True,
        text=True,
        check=False,
        timeout=5,
        env={**os.environ, "LC_ALL": "C"},
    )
    words = ps.stdout.split()
    if len(words) < 8 or words[0].startswith("Z"):
        return None
    return Process(pid, " ".join(words[2:7]), " ".join(words[7:]), int(words[1]))
