"""One upload to a bucket: in parts, hashed on the way, and shown only if the digests agree."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from services.cases.evidence.bucket import Bucket
from services.cases.evidence.store import (
    BlobMissingError,
    DigestMismatchError,
    StoreError,
    TooLargeError,
)

__all__ = ["PART", "Upload", "part_size"]

PART = 8 << 20  # S3 wants 5 MiB at least
MAX_PARTS = 10_000


def part_size(max_bytes: int) -> int:
    """Return how large a part is, so that the largest item has not too many."""
    return max(PART, -(-max_bytes // (MAX_PARTS - 1)))


class Upload:
    """What arrives, in parts; no more than one part is held.

    What fits into one goes straight under its name. More goes there too if its digest is
    *declared*; else it is ``staged`` under *incoming*, not locked, for the server to copy.
    """

    def __init__(
        self, bucket: Bucket, name: Callable[[str], str], incoming: str, declared: str | None
    ) -> None:
        self._bucket, self._name, self._declared = bucket, name, declared
        self.staged = declared is None
        self._key = name(declared) if declared else incoming
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self.size = 0

    async def receive(
        self, chunks: AsyncIterator[bytes], locked: dict[str, Any], max_bytes: int
    ) -> str:
        """Show the bytes under their name once all are there; return their digest.

        TooLargeError and DigestMismatchError come before anything can be seen.
        """
        enough = part_size(max_bytes)
        async for chunk in chunks:
            self.size += len(chunk)
            if self.size > max_bytes:
                raise TooLargeError(max_bytes)
            self._pending += chunk
            if len(self._pending) >= enough:
                await self._send(locked)
        if self._id is None:
            return await self._whole(locked)
        if self._pending:
            await self._send(locked)
        sha256 = self._agreed()
        await self._bucket.call(
            "complete_multipart_upload",
            Key=self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": self._parts},
        )
        self._id = None
        return sha256

    async def _whole(self, locked: dict[str, Any]) -> str:
        self.staged = False
        md5 = await asyncio.to_thread(self._taken, self._pending)
        sha256 = self._agreed()
        await self._bucket.call(
            "put_object",
            Key=self._name(sha256),
            Body=self._pending,
            ContentMD5=md5,
            ContentType="application/octet-stream",
            **locked,
        )
        return sha256

    async def _send(self, locked: dict[str, Any]) -> None:
        body, self._pending = self._pending, bytearray()
        if self._id is None:
            answer = await self._bucket.call(
                "create_multipart_upload",
                Key=self._key,
                ContentType="application/octet-stream",
                **({} if self.staged else locked),
            )
            self._id = answer["UploadId"]
        number = len(self._parts) + 1
        md5 = await asyncio.to_thread(self._taken, body)
        answer = await self._bucket.call(
            "upload_part",
            Key=self._key,
            UploadId=self._id,
            PartNumber=number,
            Body=body,
            ContentMD5=md5,
        )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    def _taken(self, body: bytearray) -> str:
        """Add *body* to the digest; return its MD5, which S3 wants of whatever is locked."""
        self._hash.update(body)
        return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()

    def _agreed(self) -> str:
        found = self._hash.hexdigest()
        if self._declared is not None and self._declared != found:
            raise DigestMismatchError(self._declared, found)
        return found

    async def discard(self) -> None:
        """Let the parts go; what this cannot reach, the janitor's sweep ends."""
        if self._id is not None:
            with contextlib.suppress(StoreError, BlobMissingError):
                await self._bucket.call("abort_multipart_upload", Key=self._key, UploadId=self._id)
