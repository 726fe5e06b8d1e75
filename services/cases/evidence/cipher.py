"""How bytes of evidence are sealed at rest: AES-256-GCM in chunks, each blob under its own key.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): each chunk's number, and whether
it is the last one, are in its nonce and authenticated, as is the header that names the key. So a
chunk that was altered, moved, repeated or cut off at the end is found by whoever opens it.

    stored = "tocsin evidence 1\\n" | key id, 16 bytes | chunk 0 | chunk 1 | … | last chunk

A chunk is CHUNK bytes and a tag of 16; the last one is shorter, and is there even when it is empty.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.cases.evidence.store import StoreError

__all__ = ["CHUNK", "AlteredBlobError", "BlobCipher", "framed", "opened", "plain_size",
           "sealed_size"]  # fmt: skip

CHUNK = 1 << 20
TAG = 16
MAGIC = b"tocsin evidence 1\n"
HEADER = len(MAGIC) + 16


class AlteredBlobError(StoreError):
    """The stored bytes are not what was sealed under this key."""


def sealed_size(plain: int) -> int:
    """Return how many bytes are stored for so many."""
    return HEADER + plain + TAG * max(1, -(-plain // CHUNK))


def plain_size(stored: int) -> int:
    """Return how many bytes so many stored ones hold; 0 for what cannot be a whole blob."""
    body = stored - HEADER
    return max(0, body - TAG * -(-body // (CHUNK + TAG)))


class BlobCipher:
    """Seals or opens the chunks of one blob."""

    def __init__(self, key_id: UUID, key: bytes) -> None:
        self.header = MAGIC + key_id.bytes
        self._cipher = AESGCM(key)

    def seal(self, number: int, last: bool, plain: bytes) -> bytes:
        place = _place(number, last)
        return self._cipher.encrypt(place, plain, self.header + place)

    def open(self, number: int, last: bool, sealed: bytes) -> bytes:
        """Return what is in a chunk; AlteredBlobError unless it was sealed for this place."""
        place = _place(number, last)
        try:
            return self._cipher.decrypt(place, sealed, self.header + place)
        except (InvalidTag, ValueError) as error:
            raise AlteredBlobError(f"chunk {number} is not what was sealed") from error


def _place(number: int, last: bool) -> bytes:
    """Return the nonce: 11 bytes of the chunk's number, and one that says whether it is the last.

    It may be a counter because every blob has a key of its own, which seals it once.
    """
    return number.to_bytes(11, "big") + bytes([last])


async def framed(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[tuple[bytes, bool]]:
    """Yield the bytes in blocks of *size* and whether it is the last, which may be shorter."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        while len(pending) > size:
            yield bytes(memoryview(pending)[:size]), False
            del pending[:size]
    yield bytes(pending), True


async def opened(chunks: AsyncIterator[bytes], cipher: BlobCipher) -> AsyncIterator[bytes]:
    """Yield what stored bytes hold; AlteredBlobError before anything of an altered chunk."""
    number = 0
    async for block, last in framed(_after(cipher.header, chunks), CHUNK + TAG):
        yield await asyncio.to_thread(cipher.open, number, last, block)
        number += 1


async def _after(header: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    head, passed = bytearray(), False
    async for chunk in chunks:
        if passed:
            yield chunk
            continue
        head += chunk
        if len(head) >= len(header):
            if head[: len(header)] != header:
                break
            passed = True
            yield bytes(head[len(header) :])
    if not passed:
        raise AlteredBlobError("it does not begin like what was sealed")
