"""Rule files in a zip archive, read where they lie: nothing is ever unpacked to a disk."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .model import RuleError
from .yaml_tree import MAX_BYTES

__all__ = ["SUFFIX", "read_archive"]

SUFFIX = ".zip"
MAX_ARCHIVE = 16 << 20
MAX_MEMBERS = 50_000
MAX_UNPACKED = 256 << 20
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may grow without bound in one step


def read_archive(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes] | RuleError]:
    """Yield (name, content) of each member that ends in one of *suffixes*, or why there is none.

    A content is cut after MAX_BYTES + 1. Members whose name leads out of the archive, links,
    encrypted and damaged ones are refused one by one; an archive that is too large as a whole.
    """
    try:
        if path.stat().st_size > MAX_ARCHIVE:
            yield RuleError(str(path), 1, f"archive is larger than {MAX_ARCHIVE >> 20} MiB")
            return
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if each.filename.endswith(suffixes)]
            if len(members) > MAX_MEMBERS:
                yield RuleError(str(path), 1, f"archive holds more than {MAX_MEMBERS} rule files")
                return
            room = MAX_UNPACKED
            for member in sorted(members, key=lambda each: each.filename):
                found = _member(archive, member, f"{path}/{member.filename}")
                yield found
                room -= len(found[1]) if isinstance(found, tuple) else 0
                if room < 0:
                    reason = f"archive unpacks to more than {MAX_UNPACKED >> 20} MiB"
                    yield RuleError(str(path), 1, reason)
                    return
    except OSError as error:
        yield RuleError(str(path), 1, f"cannot be read: {error.strerror or error}")
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        yield RuleError(str(path), 1, f"not a zip archive: {error}")


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str
) -> tuple[str, bytes] | RuleError:
    where = PurePosixPath(member.filename.replace("\\", "/"))
    if where.is_absolute() or ".." in where.parts or where.parts[0].endswith(":"):
        return RuleError(name, 1, "its name leads out of the archive")
    if stat.S_ISLNK(member.external_attr >> 16):
        return RuleError(name, 1, "a link, not a file")
    if member.flag_bits & 1:
        return RuleError(name, 1, "encrypted")
    if member.compress_type not in _PLAIN:
        return RuleError(name, 1, "packed in another way than stored or deflated")
    try:
        with archive.open(member) as file:
            return name, file.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        return RuleError(name, 1, f"damaged: {error}")
