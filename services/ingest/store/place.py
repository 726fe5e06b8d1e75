"""Where the files lie: a directory, or S3-compatible storage with a directory as its cache."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from services.ingest.store.layout import is_file_key

__all__ = ["CorruptFileError", "Place", "S3Access", "open_place"]


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


@dataclass(frozen=True, slots=True)
class S3Access:
    """How a bucket is reached; without keys botocore looks for its own (environment, role)."""

    endpoint: str | None = None
    region: str | None = None
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)


def open_place(url: str, access: S3Access, cache: Path, cache_bytes: int) -> Place:
    """Return the place that *url* names: ``s3://bucket/prefix``, or a path."""
    if url.startswith("s3://"):
        return _Bucket(url, access, cache, cache_bytes)
    return _Directory(Path(url).resolve())


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
        _empty(self.scratch(), older_than)


class _Bucket:
    def __init__(self, url: str, access: S3Access, cache: Path, cache_bytes: int) -> None:
        parts = urlsplit(url)
        self._bucket, prefix = parts.netloc, parts.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._cache, self._cache_bytes = cache, cache_bytes
        # Tens of megabytes, for those who keep their store in a bucket.
        from botocore.config import Config
        from botocore.session import Session

        self._client: Any = Session().create_client(
            "s3",
            region_name=access.region or "us-east-1",
            endpoint_url=access.endpoint,
            aws_access_key_id=access.key_id,
            aws_secret_access_key=access.secret,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": 4},
                # Not every server knows the newer checksums; the manifest has ours.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if access.endpoint else "auto"},
            ),
        )

    @property
    def folder(self) -> Path:
        self._cache.mkdir(parents=True, exist_ok=True)
        return self._cache

    def scratch(self) -> Path:
        made = self._cache / "_scratch"
        made.mkdir(parents=True, exist_ok=True)
        return made

    def _call(self, operation: str, key: str | None = None, **more: Any) -> Any:
        """Return the answer; FileNotFoundError, or OSError for whatever may pass."""
        from botocore.exceptions import BotoCoreError, ClientError

        arguments = {"Bucket": self._bucket, **more}
        if key is not None:
            arguments["Key"] = self._prefix + key
        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404", "NotFound"}:
                raise FileNotFoundError(key) from error
            raise OSError(f"{operation} {key or self._prefix}: {error}") from error
        except BotoCoreError as error:
            raise OSError(f"{operation} {key or self._prefix}: {error}") from error

    def put(self, made: Path, key: str) -> None:
        with made.open("rb") as file:
            self._call("put_object", key, Body=file)
        target = self._cache / key
        target.parent.mkdir(parents=True, exist_ok=True)
        made.replace(target)  # what has just been written is what people look at

    def get(self, key: str, sha256: str) -> Path:
        target = self._cache / key
        if target.exists():
            os.utime(target)
            return target
        self._make_room()
        part = self.scratch() / f"{os.getpid()}-{target.name}.get"
        digest = hashlib.sha256()
        with part.open("wb") as file:
            for piece in self._pieces(key):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            part.unlink()
            raise CorruptFileError(f"{key} is not what the manifest says (SHA-256)")
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        return target

    def _pieces(self, key: str) -> Iterator[bytes]:
        with self._call("get_object", key)["Body"] as body:
            while piece := body.read(1 << 20):
                yield piece

    def _make_room(self) -> None:
        files = [(p.stat(), p) for p in self._cache.rglob("*.parquet")]
        held = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda found: found[0].st_mtime):
            if held <= self._cache_bytes:
                return
            path.unlink(missing_ok=True)
            held -= stat.st_size

    def digest(self, key: str) -> str:
        found = hashlib.sha256()
        for piece in self._pieces(key):
            found.update(piece)
        return found.hexdigest()

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call("delete_object", key)
        (self._cache / key).unlink(missing_ok=True)

    def strays(self, older_than: datetime) -> Iterator[str]:
        more: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=f"{self._prefix}date=", **more)
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._prefix)
                if is_file_key(key) and found["LastModified"] < older_than:
                    yield key
            if not page.get("IsTruncated"):
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        _empty(self.scratch(), older_than)


def _empty(scratch: Path, older_than: datetime) -> None:
    """Delete what a crash left half made."""
    for path in scratch.iterdir():
        if path.is_file() and path.stat().st_mtime < older_than.timestamp():
            path.unlink(missing_ok=True)
