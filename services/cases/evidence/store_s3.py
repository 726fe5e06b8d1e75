"""Bytes in a bucket that speaks S3: versioned, each object locked from the moment it is there.

An object's name is made of its digest. Bytes whose digest was declared go straight under it: a
multipart upload shows nothing before it is completed, and it is completed only if the digests
agree. Where none was declared they go under `incoming/` and are copied by the server.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.cases.evidence.bucket import Bucket, BucketError
from services.cases.evidence.domain.decide import is_digest
from services.cases.evidence.locks import Lock, bucket_problem
from services.cases.evidence.s3_upload import PART, Upload
from services.cases.evidence.store import (
    BlobMissingError,
    Stored,
    StoreError,
    storage_ref,
)
from shared.clock import Clock
from shared.ids import uuid7

__all__ = ["S3Reading", "S3Store"]

COPY = 1 << 30  # bytes in a part that the server copies
_DIGEST = re.compile(r"sha256/[0-9a-f]{2}/[0-9a-f]{2}/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of an object."""

    key: str
    id: str
    size: int
    since: datetime


class S3Reading:
    """The versions of one name, the oldest first: nobody can put one before the true one."""

    def __init__(self, bucket: Bucket, versions: Sequence[_Version], sha256: str) -> None:
        self._bucket, self._versions, self._sha256 = bucket, versions, sha256
        self._chosen = versions[0]

    @property
    def size(self) -> int:
        return self._chosen.size

    async def digest(self, bytes_per_second: int | None = None) -> str:
        """Return the SHA-256 of every byte: of the version that is right, or of the oldest."""
        first = None
        for version in self._versions:
            found = await self._hashed(version, bytes_per_second)
            if found == self._sha256:
                self._chosen = version
                return found
            first = first or found
        return first or ""

    async def _hashed(self, version: _Version, bytes_per_second: int | None) -> str:
        found = hashlib.sha256()
        async for chunk in self._of(version):
            await asyncio.to_thread(found.update, chunk)
            if bytes_per_second:
                await asyncio.sleep(len(chunk) / bytes_per_second)
        return found.hexdigest()

    async def _of(self, version: _Version) -> AsyncIterator[bytes]:
        offset = 0
        while offset < version.size:
            chunk = await self._bucket.read(version.key, version.id, offset, PART)
            if not chunk:
                raise StoreError(f"{version.key} is shorter than it says")
            offset += len(chunk)
            yield chunk

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the version that `digest` found right."""
        return self._of(self._chosen)


class S3Store:
    """An `EvidenceStore` over one bucket; any number of processes may share it."""

    def __init__(self, bucket: Bucket, lock: Lock, clock: Clock) -> None:
        self._bucket, self._lock, self._clock = bucket, lock, clock
        self._sound = False
        self._discarding: set[asyncio.Task[None]] = set()

    def _key(self, sha256: str) -> str:
        if not is_digest(sha256):
            raise ValueError("not a digest")
        return f"{self._bucket.place.prefix}{storage_ref(sha256)}"

    async def problem(self) -> str | None:
        """Return in a sentence why evidence cannot be kept here, None if it can."""
        try:
            versioning = await self._bucket.call("get_bucket_versioning")
            locking = await self._locking() if self._lock.locks else None
        except (StoreError, BlobMissingError) as error:
            return f"the bucket {self._bucket.place.bucket} cannot be used: {error}"
        told = bucket_problem(
            self._bucket.place.bucket, versioning.get("Status"), locking, self._lock
        )
        return told or None

    async def _locking(self) -> str | None:
        try:
            answer = await self._bucket.call("get_object_lock_configuration")
        except BucketError as error:
            if error.code == "ObjectLockConfigurationNotFoundError":
                return None
            raise
        enabled: str | None = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
        return enabled

    async def _check(self) -> None:
        """Refuse a bucket that would not hold on to what is put into it; asked until it does."""
        if not self._sound:
            if told := await self.problem():
                raise StoreError(told)
            self._sound = True

    async def put(
        self, chunks: AsyncIterator[bytes], *, declared: str | None, max_bytes: int
    ) -> Stored:
        """Keep *chunks*, durably, or nothing of them (delivery reference §4.3)."""
        await self._check()
        locked = self._lock.at_upload(self._clock())
        incoming = f"{self._bucket.place.prefix}incoming/{uuid7().hex}"
        upload = Upload(self._bucket, self._key, incoming, declared)
        try:
            sha256 = await upload.receive(chunks, locked, max_bytes)
        except BaseException:
            # A task of its own: whoever was cancelled gets no more awaits.
            ending = asyncio.create_task(upload.discard())
            self._discarding.add(ending)
            ending.add_done_callback(self._discarding.discard)
            await asyncio.shield(ending)
            raise
        key = self._key(sha256)
        if upload.staged:
            await self._name(incoming, key, upload.size, locked)
        if locked:  # read back: not every server heeds what an upload in parts says of its lock
            newest = (await self._versions(key))[-1]
            await self._retain(newest, locked["ObjectLockRetainUntilDate"])
        return Stored(sha256, upload.size, storage_ref(sha256))

    async def _name(self, source: str, key: str, size: int, locked: dict[str, Any]) -> None:
        """Have the server copy *source* to *key*, then take *source* away."""
        started = await self._bucket.call("create_multipart_upload", Key=key, **locked)
        named = {"Key": key, "UploadId": started["UploadId"]}
        parts = []
        for number, start in enumerate(range(0, size, COPY), start=1):
            answer = await self._bucket.call(
                "upload_part_copy",
                PartNumber=number,
                CopySource={"Bucket": self._bucket.place.bucket, "Key": source},
                CopySourceRange=f"bytes={start}-{min(start + COPY, size) - 1}",
                **named,
            )
            parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        await self._bucket.call(
            "complete_multipart_upload", MultipartUpload={"Parts": parts}, **named
        )
        for version in await self._versions(source):
            await self._let_go(version)

    async def _versions(self, key: str, marks: bool = False) -> list[_Version]:
        """Return the versions of *key*, the oldest first; or the marks that hide them."""
        part = "DeleteMarkers" if marks else "Versions"
        found = await self._bucket.pages("list_object_versions", part, Prefix=key)
        versions = [_version(entry) for entry in found if entry["Key"] == key]
        # The listing has the newest first; equal times keep that order, turned round.
        versions.reverse()
        return sorted(versions, key=lambda version: version.since)

    async def _let_go(self, version: _Version) -> bool:
        """Delete a version, unless it is locked; tell whether."""
        try:
            await self._bucket.call("delete_object", Key=version.key, VersionId=version.id)
        except BucketError as error:
            if error.refused:
                return False
            raise
        return True

    @asynccontextmanager
    async def open(self, sha256: str) -> AsyncIterator[S3Reading]:
        """Open the bytes of a digest, also if somebody hid or covered them."""
        if not (versions := await self._versions(self._key(sha256))):
            raise BlobMissingError(sha256)
        yield S3Reading(self._bucket, versions, sha256)

    async def digests(self, older_than: datetime) -> list[str]:
        """Return the digests of everything that was last put before an instant."""
        prefix = self._bucket.place.prefix
        newest: dict[str, datetime] = {}
        for entry in await self._bucket.pages(
            "list_object_versions", "Versions", Prefix=f"{prefix}sha256/"
        ):
            if match := _DIGEST.fullmatch(entry["Key"].removeprefix(prefix)):
                put = entry["LastModified"]
                newest[match[1]] = max(put, newest.get(match[1], put))
        return [sha256 for sha256, put in newest.items() if put < older_than]

    async def remove(self, sha256: str, older_than: datetime) -> bool:
        """Remove the bytes unless put again since *older_than*, or locked; tell whether."""
        key = self._key(sha256)
        versions = await self._versions(key)
        if not versions or any(version.since >= older_than for version in versions):
            return False
        # These versions and no others: what is put in between has a version of its own.
        if not all([await self._let_go(version) for version in versions]):
            return False
        for mark in await self._versions(key, marks=True):
            await self._let_go(mark)
        return True

    async def sweep(self, older_than: datetime) -> int:
        """End the uploads to which no part was added since an instant; return how many."""
        prefix = self._bucket.place.prefix
        ended = 0
        for upload in await self._bucket.pages("list_multipart_uploads", "Uploads", Prefix=prefix):
            named = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            with contextlib.suppress(BlobMissingError):
                parts = await self._bucket.pages("list_parts", "Parts", **named)
                times = [upload["Initiated"], *(part["LastModified"] for part in parts)]
                if max(times) < older_than:
                    await self._bucket.call("abort_multipart_upload", **named)
                    ended += 1
        for entry in await self._bucket.pages(
            "list_object_versions", "Versions", Prefix=f"{prefix}incoming/"
        ):
            if entry["LastModified"] < older_than:
                ended += await self._let_go(_version(entry))
        return ended

    async def protect(self, sha256: str, *, until: datetime | None, held: bool) -> None:
        """Keep the bytes locked until an instant at least, and under a legal hold or not."""
        if not self._lock.locks:
            return
        for version in await self._versions(self._key(sha256)):
            if until is not None:
                await self._retain(version, until)
            await self._bucket.call(
                "put_object_legal_hold",
                Key=version.key,
                VersionId=version.id,
                LegalHold={"Status": "ON" if held else "OFF"},
            )

    async def _retain(self, version: _Version, until: datetime) -> None:
        named = {"Key": version.key, "VersionId": version.id}
        answer = await self._bucket.call("head_object", **named)
        present = answer.get("ObjectLockRetainUntilDate")
        if retention := self._lock.extended(present, until, self._clock()):
            await self._bucket.call("put_object_retention", Retention=retention, **named)


def _version(entry: dict[str, Any]) -> _Version:
    return _Version(entry["Key"], entry["VersionId"], entry.get("Size", 0), entry["LastModified"])
