"""`tocsin doctor`: what is wrong here, and what to do about it."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from services.cases.evidence.wiring import evidence_store
from services.cases.settings import Settings
from shared.clock import utc_now
from shared.settings import SettingsError, load_settings
from shared.topology import SERVICES
from tocsin.embedded.binaries import find_nats, find_postgres
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.ports import is_free
from tocsin.embedded.server_user import server_user
from tocsin.embedded.spare import SPARE
from tocsin.home import Home, NotRunningError
from tocsin.stack import PORTS

__all__ = ["Check", "diagnose"]

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; *fix* says what to do when it is not *ok*."""

    name: str
    ok: bool
    found: str
    fix: str = ""


async def diagnose(home: Home) -> list[Check]:
    """Return every finding about this machine and the platform over *home*."""
    checks = [_python(), *_binaries(home), _disk(home), _memory(), _secrets(home)]
    checks += [check async for check in _evidence()]
    try:
        running = home.running()
    except NotRunningError:
        return [*checks, *_ports(), Check("platform", True, "not running")]
    checks.append(Check("platform", True, f"running (pid {running.pid})"))
    return [*checks, *[check async for check in _services(running.urls)]]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _binaries(home: Home) -> list[Check]:
    def postgres() -> Path:
        return find_postgres(server_user(home.root / "postgres"), SPARE).folder

    parts: tuple[tuple[str, Callable[[], Path], str], ...] = (
        ("PostgreSQL", postgres, "TOCSIN_DATABASE_URL"),
        ("NATS", find_nats, "TOCSIN_NATS_URL"),
    )
    checks = []
    for name, find, variable in parts:
        if os.environ.get(variable):
            checks.append(Check(name, True, f"yours ({variable})"))
            continue
        try:
            checks.append(Check(name, True, f"embedded ({find()})"))
        except PlatformError as error:
            fix = f"run `make setup` again, or set {variable} to a server of your own"
            checks.append(Check(name, False, str(error), fix))
    return checks


def _disk(home: Home) -> Check:
    place = home.root if home.root.exists() else home.root.absolute().parent
    free = shutil.disk_usage(place).free
    return Check(
        "disk",
        free > GIB,
        f"{free / GIB:.1f} GiB free at {place}",
        "make room: a full disk makes ingest answer 503",
    )


def _memory() -> Check:
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return Check("memory", True, "not known on this system")
    return Check(
        "memory",
        available > 600 * (1 << 20),
        f"{available / GIB:.1f} GiB available",
        "the platform needs about 600 MB; end other programs",
    )


def _secrets(home: Home) -> Check:
    folder = home.secrets.folder
    if not folder.exists():
        return Check("secrets", True, "none yet")
    loose = [
        path.name
        for path in folder.iterdir()
        if path.stat().st_mode & 0o077 and path.name != "issuer.jwks.json"
    ]
    return Check(
        "secrets",
        not loose and not folder.stat().st_mode & 0o077,
        f"readable by others: {', '.join(loose)}" if loose else "readable by you alone",
        f"chmod -R go= {folder}",
    )


async def _evidence() -> AsyncIterator[Check]:
    """Look at the bucket of evidence, where the environment names one."""
    try:
        settings = load_settings(Settings)
        store = evidence_store(settings, utc_now) if settings.evidence_url else None
    except SettingsError as error:
        yield Check("evidence", False, str(error), "see docs/operations.md, Evidence")
        return
    if store is not None:
        told = await store.problem()
        fix = (
            "see docs/operations.md, Evidence: a bucket with versions and object lock, and its keys"
        )
        yield Check("evidence", told is None, told or f"kept in {settings.evidence_url}", fix)


def _ports() -> list[Check]:
    taken = [f"{name} ({port})" for name, port in PORTS.items() if not is_free(port)]
    return [
        Check(
            "ports",
            not taken,
            f"taken: {', '.join(taken)}" if taken else "8080 to 8084 are free",
            "end the program that listens there, or use `tocsin up --random-ports`",
        )
    ]


async def _services(urls: Mapping[str, str]) -> AsyncIterator[Check]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        for name in SERVICES:
            url = urls[name]
            try:
                answer = await client.get(f"{url}/readyz")
                said = answer.json()
                missing, notices = said.get("missing", {}), said.get("notices", {})
            except (httpx.HTTPError, ValueError) as error:
                yield Check(
                    name, False, f"{url} does not answer ({error!r})", f"read its log: {name}.log"
                )
                continue
            wrong = {**missing, **notices}
            found = "; ".join(f"{k}: {v}" for k, v in wrong.items()) or f"ready at {url}"
            fix = "it recovers by itself once that is back; see its log for more"
            if not missing:
                fix = "mend the file; it is read again by itself"
            yield Check(name, not wrong, found, fix)
