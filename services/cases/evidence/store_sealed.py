"""Bytes sealed at rest, in whichever store lies beneath: an `EvidenceStore` over another one.

Above this layer there is only the digest of what was collected; beneath it only that of what is
stored. Each upload has a key of its own, so equal bytes that are put twice lie there twice. What
lies there in clear, from before or with sealing switched off, is read as it is.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime

from services.cases.evidence.blob_keys import BlobKeys, Sealed
from services.cases.evidence.cipher import (
    CHUNK,
    AlteredBlobError,
    BlobCipher,
    framed,
    opened,
    plain_size,
    sealed_size,
)
from services.cases.evidence.store import (
    BlobMissingError,
    DigestMismatchError,
    EvidenceStore,
    Reading,
    Stored,
    TooLargeError,
    storage_ref,
)
from services.cases.sealing.kek import KEY_BYTES
from shared.ids import uuid7

__all__ = ["SealedReading", "SealedStore"]


class _Incoming:
    """What arrives, hashed and then sealed on its way down."""

    def __init__(self, cipher: BlobCipher, declared: str | None, max_bytes: int) -> None:
        self._cipher, self._declared, self._max = cipher, declared, max_bytes
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _taken(self, number: int, last: bool, block: bytes) -> bytes:
        self._hash.update(block)
        return self._cipher.seal(number, last, block)

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.size += len(chunk)
            if self.size > self._max:
                raise TooLargeError(self._max)
            yield chunk

    async def sealed(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what is to be stored; DigestMismatchError before it could be taken for whole."""
        yield self._cipher.header
        number = 0
        async for block, last in framed(self._bounded(chunks), CHUNK):
            yield await asyncio.to_thread(self._taken, number, last, block)
            number += 1
        if self._declared is not None and self._declared != self.sha256:
            raise DigestMismatchError(self._declared, self.sha256)


class _Copy:
    """One open blob; without a cipher it lies there in clear."""

    def __init__(self, reading: Reading, stored: str, cipher: BlobCipher | None) -> None:
        self._reading, self._stored, self._cipher = reading, stored, cipher

    @property
    def size(self) -> int:
        return plain_size(self._reading.size) if self._cipher else self._reading.size

    def chunks(self) -> AsyncIterator[bytes]:
        chunks = self._reading.chunks()
        return opened(chunks, self._cipher) if self._cipher else chunks

    async def digest(self, bytes_per_second: int | None) -> str:
        """Return the SHA-256 of what it holds; of what is stored, if that does not open."""
        if self._cipher is None:
            return await self._reading.digest(bytes_per_second)
        with suppress(AlteredBlobError):
            return await self._hashed(bytes_per_second)
        # A bucket may have another version of it, which this finds.
        found = await self._reading.digest(bytes_per_second)
        if found == self._stored:
            with suppress(AlteredBlobError):
                return await self._hashed(bytes_per_second)
        return found

    async def _hashed(self, bytes_per_second: int | None) -> str:
        found = hashlib.sha256()
        async for chunk in self.chunks():
            await asyncio.to_thread(found.update, chunk)
            if bytes_per_second:
                await asyncio.sleep(len(chunk) / bytes_per_second)
        return found.hexdigest()


class SealedReading:
    """The copies of some bytes, the oldest first; `digest` chooses the first that is right."""

    def __init__(self, copies: Sequence[_Copy], sha256: str) -> None:
        self._copies, self._sha256 = copies, sha256
        self._chosen = copies[0]

    @property
    def size(self) -> int:
        return self._chosen.size

    async def digest(self, bytes_per_second: int | None = None) -> str:
        """Return the SHA-256 of every byte, opened now; of the stored ones if they do not open."""
        first = None
        for copy in self._copies:
            found = await copy.digest(bytes_per_second)
            if found == self._sha256:
                self._chosen = copy
                return found
            first = first or found
        return first or ""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes in clear from the start; AlteredBlobError where they do not open."""
        return self._chosen.chunks()


class SealedStore:
    """An `EvidenceStore` that seals what it hands down to *inner*, unless *seals* is False."""

    def __init__(self, inner: EvidenceStore, keys: BlobKeys, *, seals: bool = True) -> None:
        self._inner, self._keys, self._seals = inner, keys, seals

    async def put(
        self, chunks: AsyncIterator[bytes], *, declared: str | None, max_bytes: int
    ) -> Stored:
        """Keep *chunks*, durably, or nothing of them.

        Their key is written once they are there: whoever dies before leaves what nobody can open,
        and the janitor takes it like any bytes that no item needs.
        """
        if not self._seals:
            return await self._inner.put(chunks, declared=declared, max_bytes=max_bytes)
        key_id, key = uuid7(), os.urandom(KEY_BYTES)
        incoming = _Incoming(BlobCipher(key_id, key), declared, max_bytes)
        stored = await self._inner.put(
            incoming.sealed(chunks), declared=None, max_bytes=sealed_size(max_bytes)
        )
        await self._keys.add(key_id, key, stored.sha256, incoming.sha256)
        return Stored(incoming.sha256, incoming.size, storage_ref(incoming.sha256))

    @asynccontextmanager
    async def open(self, sha256: str) -> AsyncIterator[SealedReading]:
        """Open the bytes of a digest, sealed or in clear."""
        async with AsyncExitStack() as stack:
            copies = []
            for each in await self._keys.of(sha256):
                with suppress(BlobMissingError):
                    reading = await stack.enter_async_context(self._inner.open(each.stored))
                    copies.append(_Copy(reading, each.stored, BlobCipher(each.key_id, each.key)))
            with suppress(BlobMissingError):
                reading = await stack.enter_async_context(self._inner.open(sha256))
                copies.append(_Copy(reading, sha256, None))
            if not copies:
                raise BlobMissingError(sha256)
            yield SealedReading(copies, sha256)

    async def digests(self, older_than: datetime) -> list[str]:
        """Return the digests of everything that was last put before an instant.

        Bytes without a key are named by what they are stored as, so that they can be removed.
        """
        old, young = await self._keys.digests(older_than)
        beneath = await self._inner.digests(older_than)
        rest = set(beneath) - await self._keys.known(beneath) - young
        return sorted(old | rest)

    async def remove(self, sha256: str, older_than: datetime) -> bool:
        """Remove the bytes and destroy their keys, unless put again since; tell whether.

        What the store beneath keeps locked keeps its key.
        """
        sealed = await self._keys.of(sha256)
        if any(each.put_at >= older_than for each in sealed):
            return False
        clear = await self._inner.remove(sha256, older_than)
        gone = [await self._let_go(each, older_than) for each in sealed]
        return all(gone) if sealed else clear

    async def _let_go(self, each: Sealed, older_than: datetime) -> bool:
        # Not there any more: somebody died between the bytes and their key.
        if not await self._inner.remove(each.stored, older_than) and await self._there(each.stored):
            return False
        await self._keys.destroy(each.key_id)
        return True

    async def _there(self, stored: str) -> bool:
        try:
            async with self._inner.open(stored):
                return True
        except BlobMissingError:
            return False

    async def sweep(self, older_than: datetime) -> int:
        """Remove what uploads left half done before an instant; return how many."""
        return await self._inner.sweep(older_than)

    async def protect(self, sha256: str, *, until: datetime | None, held: bool) -> None:
        """Lock every copy of the bytes, where the store beneath can."""
        for stored in [*(each.stored for each in await self._keys.of(sha256)), sha256]:
            await self._inner.protect(stored, until=until, held=held)

    async def problem(self) -> str | None:
        """Return in a sentence why evidence cannot be kept here, None if it can."""
        return await self._inner.problem()
