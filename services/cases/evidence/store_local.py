"""Bytes in a local directory: `tmp/` while they come, `sha256/ab/cd/<digest>` for ever.

A name is made of random bits or of a digest that was computed here; nothing that anybody sends
becomes part of a path (CVE-2026-22783).
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeVar

from services.cases.evidence.domain.decide import is_digest
from services.cases.evidence.store import (
    BlobMissingError,
    DigestMismatchError,
    Stored,
    StoreError,
    StoreFullError,
    TooLargeError,
    storage_ref,
)
from shared.ids import uuid7

__all__ = ["CHUNK", "LocalReading", "LocalStore"]

CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DIGEST = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


@contextmanager
def _told(work: str) -> Iterator[None]:
    """Turn the operating system's errors into the port's."""
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissingError(work) from error
    except OSError as error:
        kind = StoreFullError if error.errno in _FULL else StoreError
        raise kind(f"{work}: {error.strerror or error}") from error


async def _in_thread(work: str, call: Callable[[], T]) -> T:
    """Run what waits for a disk away from the event loop."""

    def told() -> T:
        with _told(work):
            return call()

    return await asyncio.to_thread(told)


class LocalReading:
    """An open blob. The descriptor holds the file even when the janitor takes its name."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    async def _at(self, offset: int) -> bytes:
        return await _in_thread("read", lambda: os.pread(self._file.fileno(), CHUNK, offset))

    async def digest(self, bytes_per_second: int | None = None) -> str:
        """Return the SHA-256 of every byte, read no faster than a rate."""
        found = hashlib.sha256()
        offset = 0
        while chunk := await self._at(offset):
            offset += len(chunk)
            await asyncio.to_thread(found.update, chunk)
            if bytes_per_second:
                await asyncio.sleep(len(chunk) / bytes_per_second)
        return found.hexdigest()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes from the start."""
        offset = 0
        while chunk := await self._at(offset):
            offset += len(chunk)
            yield chunk


class _Incoming:
    """A temp file that hashes what is written to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # a raw file may take less than it was given
            view = view[self._file.write(view) or 0 :]
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> str:
        """Bring the bytes to the disk; return their digest."""
        os.fchmod(self._file.fileno(), 0o440)
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _receive(incoming: _Incoming, chunks: AsyncIterator[bytes], max_bytes: int) -> str:
    """Write *chunks* in blocks of about CHUNK; return their digest once they are on disk."""
    pending, received = bytearray(), 0
    async for chunk in chunks:
        received += len(chunk)
        if received > max_bytes:
            raise TooLargeError(max_bytes)
        pending += chunk
        if len(pending) >= CHUNK:
            block, pending = bytes(pending), bytearray()
            await _in_thread("write", partial(incoming.write, block))
    await _in_thread("write", partial(incoming.write, bytes(pending)))
    return await _in_thread("fsync", incoming.finish)


def _agree(declared: str | None, found: str) -> None:
    if declared is not None and declared != found:
        raise DigestMismatchError(declared, found)


class LocalStore:
    """An `EvidenceStore` over one directory; several processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tmp = root / "tmp"

    def _path(self, sha256: str) -> Path:
        if not is_digest(sha256):
            raise ValueError("not a digest")
        return self._root / storage_ref(sha256)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep publishing and removing apart, in every process that shares the directory."""
        with (self._root / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _begin(self) -> _Incoming:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tmp.mkdir(mode=0o700, exist_ok=True)
        return _Incoming(self._tmp / f"{uuid7().hex}.part")

    def _publish(self, incoming: _Incoming, sha256: str) -> None:
        """Give the bytes their name, and make the name as durable as the bytes."""
        path = self._path(sha256)
        chain = [self._root, *reversed(path.relative_to(self._root).parents)][1:]
        folders = [self._root / folder for folder in chain]  # root, sha256, ab, cd
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        with self._lock():
            # Also when it is there already: equal bytes, and a younger file that no janitor takes.
            incoming.path.rename(path)
        # Every level, not only new ones: whoever made it may have died before its sync.
        for folder in (*folders, self._tmp):
            _sync_directory(folder)

    async def put(
        self, chunks: AsyncIterator[bytes], *, declared: str | None, max_bytes: int
    ) -> Stored:
        """Keep *chunks*, durably, or nothing of them (delivery reference §4.3)."""
        incoming = await _in_thread("begin", self._begin)
        try:
            sha256 = await _receive(incoming, chunks, max_bytes)
            _agree(declared, sha256)
            await _in_thread("rename", lambda: self._publish(incoming, sha256))
        except BaseException:
            # Also when the sender goes away. Not in a thread: a cancelled task gets no more awaits.
            incoming.discard()
            raise
        return Stored(sha256, incoming.size, storage_ref(sha256))

    @asynccontextmanager
    async def open(self, sha256: str) -> AsyncIterator[LocalReading]:
        """Open the bytes of a digest."""
        path = self._path(sha256)
        file = await _in_thread("open", lambda: path.open("rb", buffering=0))
        try:
            yield LocalReading(file)
        finally:
            file.close()

    def _blobs(self, before: float) -> list[str]:
        found = self._root.glob("sha256/??/??/*")
        return [
            path.name
            for path in found
            if _DIGEST.fullmatch(path.name) and path.stat().st_mtime < before
        ]

    async def digests(self, older_than: datetime) -> list[str]:
        """Return the digests of everything that was last put before an instant."""
        before = older_than.timestamp()
        return await _in_thread("list", lambda: self._blobs(before))

    def _remove(self, sha256: str, before: float) -> bool:
        path = self._path(sha256)
        with self._lock():
            if not path.exists() or path.stat().st_mtime >= before:
                return False
            path.unlink()
        _sync_directory(path.parent)
        return True

    async def remove(self, sha256: str, older_than: datetime) -> bool:
        """Remove the bytes unless they were put again since *older_than*; tell whether."""
        before = older_than.timestamp()
        return await _in_thread("remove", lambda: self._remove(sha256, before))

    def _sweep(self, before: float) -> int:
        removed = 0
        for path in self._tmp.glob("*.part"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    async def sweep(self, older_than: datetime) -> int:
        """Remove the temp files that no upload has written to since an instant."""
        before = older_than.timestamp()
        return await _in_thread("sweep", lambda: self._sweep(before))

    async def protect(self, sha256: str, *, until: datetime | None, held: bool) -> None:
        """Do nothing: a directory has no lock that its owner could not open again."""

    async def problem(self) -> str | None:
        """Return in a sentence why evidence cannot be kept here, None if it can."""
        try:
            incoming = await _in_thread("begin", self._begin)
            await _in_thread("discard", incoming.discard)
        except (StoreError, BlobMissingError) as error:
            return f"evidence cannot be written to {self._root}: {error}"
        return None
