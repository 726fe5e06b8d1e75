"""rsyslog and syslog-ng as they come from Debian: installed, or unpacked under TOCSIN_SHIPPERS.

    apt-get download rsyslog rsyslog-elasticsearch rsyslog-openssl syslog-ng-core \
      syslog-ng-mod-http syslog-ng-scl    (and the libraries that `ldd` finds missing)
    for package in *.deb; do dpkg -x "$package" root; done
    export TOCSIN_SHIPPERS=$PWD/root

The two packages exclude each other, so at least one has to be unpacked. Tests skip without them.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Shipper:
    """A binary, and where its modules and libraries lie."""

    binary: Path
    modules: Path
    includes: Path
    environment: Mapping[str, str]

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str, log: Path) -> AsyncIterator[None]:
        """Run it in the foreground for as long as the block lasts; its words go to *log*."""
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                str(self.binary),
                *arguments,
                env={**os.environ, **self.environment},
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
            try:
                yield
            finally:
                if process.returncode is None:
                    process.terminate()
                    try:
                        await asyncio.wait_for(process.wait(), 60)
                    except TimeoutError:
                        process.kill()
                        await process.wait()


def find(binary: str, modules: str, includes: str = "") -> Shipper:
    """Return the shipper whose program is *binary*; skips where there is none."""
    root = os.environ.get("TOCSIN_SHIPPERS")
    base = Path(root) if root else Path("/")
    place = base / "usr/sbin" / binary if root else shutil.which(binary, path="/usr/sbin:/usr/bin")
    if place is None or not Path(place).exists():
        pytest.skip(f"{binary} is not installed (see tests/support/shippers.py)")
    folders = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/syslog-ng")
    libraries = [base / folder for folder in folders]
    environment = {"LD_LIBRARY_PATH": ":".join(map(str, libraries))} if root else {}
    found = next((base / "usr/lib").glob(f"**/{modules}"), None)
    if found is None:
        pytest.skip(f"{binary} lacks its module {modules} (see tests/support/shippers.py)")
    return Shipper(Path(place), found.parent, base / includes, environment)
