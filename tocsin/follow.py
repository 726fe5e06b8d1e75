"""A growing file, record by record, through rotation: nothing left out, nothing told apart twice.

Records are lines (JSON or text), or what `follow_forms` knows: CSV, Zeek's TSV, journald's export.

Where reading stands is written to a state file (atomically, with fsync) after the platform has
confirmed each portion and before the next one is sent. So at most one portion is ever sent again,
under the same ids, derived from the file's identity and the portion's offset: ingest recognises it.

A file is told by device, inode and the digest of its first line (of a table: through its first
row): rename and create, copytruncate and an inode given to another file are all seen.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from io import FileIO
from itertools import takewhile
from pathlib import Path

from tocsin.follow_forms import Cut, cut, form_of
from tocsin.reading import CHUNK_BYTES, CHUNK_ITEMS, Chunk, ReadingError

__all__ = ["Follower", "Portion", "Position", "load_position", "save_position"]

HEAD_BYTES = 4096
HEADER_BYTES = 1 << 16  # the names of a table
LONGEST_RECORD = 64 << 20
_PACKED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a followed file was confirmed. *generation* counts the files that followed; *header*
    is where the header begins that holds at *offset* (Zeek may write another one)."""

    device: int
    inode: int
    head_bytes: int
    head: str
    offset: int
    generation: int
    header: int = 0

    @property
    def identity(self) -> str:
        """Return what the ids of the events derive from, beside their offset."""
        named = f"{self.device}:{self.inode}:{self.head}:{self.generation}"
        return hashlib.sha256(named.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Portion:
    """Whole lines to be sent, and where reading stands when they are confirmed."""

    chunk: Chunk
    key: str
    after: Position


def load_position(path: Path) -> Position | None:
    """Return what *path* holds, None where there is none; ReadingError for anything else."""
    try:
        return Position(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ReadingError(
            f"{path}: no state of `tocsin send --follow` ({error}); remove it to begin anew"
        ) from error


def save_position(path: Path, position: Position) -> None:
    """Write *position* so that after any crash the old or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(json.dumps(asdict(position)).encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Follower:
    """Reads *path* on from *known*; never waits: `read` returns None where there is nothing yet."""

    def __init__(self, path: Path, known: Position | None) -> None:
        self._path = path
        self._at = known
        self._file: FileIO | None = None
        self._drained = False
        self._form: str | None = None  # of the open file
        self._form_is_known = False

    @property
    def position(self) -> Position | None:
        """Return where reading stands, confirmed."""
        return self._at

    def confirm(self, portion: Portion) -> None:
        """Go on behind *portion*."""
        self._at = portion.after

    def close(self) -> None:
        """Let go of the file."""
        self._form_is_known = False
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> Portion | None:
        """Return the next portion, the same one again until it is confirmed.

        ReadingError when the file cannot be read; one that is not there is waited for.
        """
        try:
            while True:
                if self._file is None and not self._open():
                    return None
                portion = self._portion(last=False)
                if portion is not None:
                    self._drained = False
                    return portion
                if not self._is_left():
                    return None
                if not self._drained:  # whoever wrote may still be writing its last line
                    self._drained = True
                    return None
                portion = self._portion(last=True)
                if portion is not None:
                    return portion
                self._leave()
        except OSError as error:
            raise ReadingError(f"{self._path}: {error.strerror or error}") from error

    def _open(self) -> bool:
        """Open what was left off, or the file itself."""
        if self._at is not None and (old := self._find(self._at)):
            self._file = old
            return True
        if (file := _opened(self._path)) is None:
            return False
        self._begin(file)
        return True

    def _begin(self, file: FileIO) -> None:
        self._file = file
        status = os.fstat(file.fileno())
        generation = self._at.generation + 1 if self._at else 0
        self._at = Position(status.st_dev, status.st_ino, 0, "", 0, generation)

    def _find(self, at: Position) -> FileIO | None:
        """Return the file that was left off: under its name, the one it was rotated to, or, after
        copytruncate, its copy."""
        places = [self._path, *_rotated(self._path)]
        for same_inode in (True, False):
            for place in places:
                if _is(place, at, same_inode=same_inode):
                    return _opened(place)
        return None

    def _portion(self, *, last: bool) -> Portion | None:
        at, file = self._at, self._file
        if at is None or file is None:
            return None
        if at.head and not _head_is(file, at):  # truncated and written anew under our eyes
            return None
        if not self._knows_form(file, last=last):
            return None
        if self._form is not None:
            return self._records(at, file, self._form, last=last)
        file.seek(at.offset)
        data = file.read(CHUNK_BYTES)
        end = data.rfind(b"\n") + 1
        if end == 0 and (last or len(data) == CHUNK_BYTES):
            end = len(data)
        if not end:
            return None
        lines = data[:end].split(b"\n")[: CHUNK_ITEMS + 1]
        if len(lines) > CHUNK_ITEMS:
            lines = lines[:CHUNK_ITEMS]
            end = sum(len(line) + 1 for line in lines)
        body = data[:end]
        at = at if at.head else _with_head(at, file)
        is_text = body.lstrip()[:1] != b"{"
        chunk = Chunk(at.offset, body.count(b"\n") or 1, body.rstrip(b"\r\n"), is_text)
        return Portion(chunk, f"{at.identity}:{at.offset}", replace(at, offset=at.offset + end))

    def _knows_form(self, file: FileIO, *, last: bool) -> bool:
        """Tell whether enough is there to see what kind of records the file holds."""
        if not self._form_is_known:
            file.seek(0)
            head = file.read(HEAD_BYTES)
            if not head or (b"\n" not in head and len(head) < HEAD_BYTES and not last):
                # Bytes of a form that cannot be followed need no line's end to be known.
                form_of(self._path, head)
                return False
            self._form, self._form_is_known = form_of(self._path, head), True
        return True

    def _records(self, at: Position, file: FileIO, form: str, *, last: bool) -> Portion | None:
        header = _header(form, at, file)
        found: Cut | None = None
        size = CHUNK_BYTES
        while found is None:
            file.seek(at.offset)
            data = file.read(size)
            is_all = len(data) < size
            ends = (last and is_all) or size >= LONGEST_RECORD
            found = cut(form, data, header, first=at.offset == 0, last=ends)
            if ends or is_all:
                break
            size = min(LONGEST_RECORD, 8 * size)
        if found is None:
            return None
        at = at if at.head else _with_head(at, file, len(header))
        body = b"[" + b",".join(found.records) + b"]"
        chunk = Chunk(at.offset, len(found.records), body, False, is_array=True)
        key = f"{at.identity}:{at.offset}"
        after = replace(at, offset=at.offset + found.size)
        if found.header is not None:
            after = replace(after, header=at.offset + found.header)
        return Portion(chunk, key, after)

    def _is_left(self) -> bool:
        """Tell whether nothing more will come in the open file."""
        at, file = self._at, self._file
        if at is None or file is None:
            return True
        status = os.fstat(file.fileno())
        if status.st_size < at.offset or (at.head and not _head_is(file, at)):
            return True
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False  # renamed, and nothing new yet: whoever writes may still write to it
        return (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino)

    def _leave(self) -> None:
        """Go on to what was rotated next after the open file, else to the file itself."""
        at, file = self._at, self._file
        if at is None or file is None:
            return
        status = os.fstat(file.fileno())
        truncated = status.st_size < at.offset or not _head_is(file, at)
        self.close()
        self._drained = False
        if truncated:
            copies = [p for p in _rotated(self._path) if _is(p, at, same_inode=False)]
            if copies and copies[-1].stat().st_size > at.offset:
                self._file = _opened(copies[-1])
                return
            later = []
        else:
            later = [
                place
                for place in _rotated(self._path)
                if (found := place.stat()).st_mtime_ns > status.st_mtime_ns
                and (found.st_dev, found.st_ino) != (status.st_dev, status.st_ino)
            ]
        for place in (*later, self._path):
            if (fresh := _opened(place)) is not None:
                self._begin(fresh)
                return


def _opened(path: Path) -> FileIO | None:
    try:
        # Unbuffered: what a buffer holds of the head may have been overwritten in the meantime.
        return FileIO(path)
    except FileNotFoundError:
        return None


def _rotated(path: Path) -> list[Path]:
    """Return the uncompressed files that *path* was rotated to, oldest first."""
    plain = [o for o in _siblings(path) if o.suffix not in _PACKED and o.is_file()]
    return sorted(plain, key=lambda other: other.stat().st_mtime_ns)


def _siblings(path: Path) -> Iterator[Path]:
    for other in path.parent.iterdir():
        if other.name.startswith((f"{path.name}.", f"{path.name}-")):
            yield other


def _header(form: str, at: Position, file: FileIO) -> bytes:
    """Return what is said of the columns before the records at *at*."""
    file.seek(at.header)
    lines = bytes(file.read(HEADER_BYTES)).splitlines(keepends=True)
    if form == "csv":
        if lines and not lines[0].endswith(b"\n") and len(lines[0]) == HEADER_BYTES:
            raise ReadingError(f"the first line names no columns within {HEADER_BYTES} bytes")
        return b"".join(lines[:1])
    said = list(takewhile(_is_header, lines))
    return b"".join(said)


def _is_header(line: bytes) -> bool:
    return line.startswith(b"#")


def _with_head(at: Position, file: FileIO, header: int = 0) -> Position:
    """Return *at* with the digest of the first line behind a *header* of so many bytes, and it."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    size = head.find(b"\n", header) + 1 or len(head)
    return replace(at, head_bytes=size, head=hashlib.sha256(head[:size]).hexdigest())


def _head_is(file: FileIO, at: Position) -> bool:
    file.seek(0)
    head = file.read(at.head_bytes)
    return hashlib.sha256(head).hexdigest() == at.head


def _is(path: Path, at: Position, *, same_inode: bool) -> bool:
    """Tell whether *path* holds the content that *at* points into."""
    try:
        status = path.stat()
        if same_inode and (status.st_dev, status.st_ino) != (at.device, at.inode):
            return False
        if status.st_size < at.offset or not path.is_file():
            return False
        with FileIO(path) as file:
            return not at.head or _head_is(file, at)
    except FileNotFoundError:
        return False
