"""Where the files lie: a directory, or S3-compatible storage with a directory as its cache."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import obstore
from obstore.store import ObjectStore, from_url

from services.ingest.store.layout import is_file_key

__all__ = ["CorruptFileError", "Place", "open_place"]

_RETRIES = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}


class CorruptFileError(Exception):
    """A file is not what the manifest says; the message names it."""


class Place(Protocol):
    """Puts whole files, gets them as local paths, deletes them. Blocking: call it off the loop."""

    @property
    def folder(self) -> Path:
        """The only directory that a search has to read."""
        ...

    def scratch(self) -> Path:
        """Return a directory for files that are being made, on the disk of `folder`."""
        ...

    def put(self, made: Path, key: str) -> None:
        """Move *made* to *key*; it is durable when this returns."""
        ...

    def get(self, key: str, sha256: str) -> Path:
        """Return a local file with the content of *key*; CorruptFileError, FileNotFoundError."""
        ...

    def digest(self, key: str) -> str:
        """Return the SHA-256 of what is stored (not of a copy); FileNotFoundError."""
        ...

    def delete(self, key: str) -> None:
        """Remove *key*; gone already is fine."""
        ...

    def strays(self, older_than: datetime) -> Iterator[str]:
        """Yield keys of files made before *older_than*."""
        ...


def open_place(url: str, cache: Path, cache_bytes: int) -> Place:
    """Return the place that *url* names: ``s3://bucket/prefix``, or a path.

    Credentials and endpoint of S3 come from the usual ``AWS_*`` variables.
    """
    parts = urlsplit(url)
    if parts.scheme in {"s3", "gs", "az"}:
        allow_http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        options = {"client_options": {"allow_http": True}} if allow_http else {}
        store = from_url(url, retry_config=_RETRIES, **options)  # type: ignore[call-overload]
        return _Bucket(store, cache, cache_bytes)
    root = Path(parts.path if parts.scheme == "file" else url).resolve()
    return _Directory(root)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_folders(folder: Path, root: Path) -> None:
    """Make *folder*, each new level durable in the one above."""
    missing = []
    while folder != root and not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        _sync_directory(each.parent)


@dataclass(frozen=True)
class _Directory:
    root: Path

    @property
    def folder(self) -> Path:
        return self.root

    def scratch(self) -> Path:
        made = self.root / "_scratch"  # hidden from engines that skip _ and .
        made.mkdir(parents=True, exist_ok=True)
        return made

    def put(self, made: Path, key: str) -> None:
        target = self.root / key
        _new_folders(target.parent, self.root)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(target)
        _sync_directory(target.parent)

    def get(self, key: str, sha256: str) -> Path:
        del sha256  # checked by the scrub: hashing every file in every search would be the search
        path = self.root / key
        if not path.exists():
            raise FileNotFoundError(key)
        return path

    def digest(self, key: str) -> str:
        with (self.root / key).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def delete(self, key: str) -> None:
        path = self.root / key
        path.unlink(missing_ok=True)
        for folder in list(path.parents)[:3]:
            if folder == self.root:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def strays(self, older_than: datetime) -> Iterator[str]:
        before = older_than.timestamp()
        for path in self.root.glob("date=*/hour=*/source=*/*.parquet"):
            if path.stat().st_mtime < before:
                yield path.relative_to(self.root).as_posix()
        for path in self.scratch().iterdir():
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Bucket:
    store: ObjectStore
    cache: Path
    cache_bytes: int

    @property
    def folder(self) -> Path:
        self.cache.mkdir(parents=True, exist_ok=True)
        return self.cache

    def scratch(self) -> Path:
        made = self.cache / "_scratch"
        made.mkdir(parents=True, exist_ok=True)
        return made

    def put(self, made: Path, key: str) -> None:
        obstore.put(self.store, key, made)
        target = self.cache / key
        target.parent.mkdir(parents=True, exist_ok=True)
        made.replace(target)  # what has just been written is what people look at

    def get(self, key: str, sha256: str) -> Path:
        target = self.cache / key
        if target.exists():
            os.utime(target)
            return target
        if not is_file_key(key):
            raise CorruptFileError(f"{key} is no file of this store")
        self._make_room()
        part = self.scratch() / f"{os.getpid()}-{target.name}.get"
        digest = hashlib.sha256()
        with part.open("wb") as file:
            for piece in obstore.get(self.store, key):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            part.unlink()
            raise CorruptFileError(f"{key} is not what the manifest says (SHA-256)")
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        return target

    def _make_room(self) -> None:
        files = [(p.stat(), p) for p in self.cache.rglob("*.parquet")]
        held = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda found: found[0].st_mtime):
            if held <= self.cache_bytes:
                return
            path.unlink(missing_ok=True)
            held -= stat.st_size

    def digest(self, key: str) -> str:
        found = hashlib.sha256()
        for piece in obstore.get(self.store, key):
            found.update(piece)
        return found.hexdigest()

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self.store, key)
        (self.cache / key).unlink(missing_ok=True)

    def strays(self, older_than: datetime) -> Iterator[str]:
        for found in obstore.list(self.store):
            for each in found:
                if is_file_key(each["path"]) and each["last_modified"] < older_than:
                    yield each["path"]
        before = older_than.timestamp()
        for path in self.scratch().iterdir():
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
