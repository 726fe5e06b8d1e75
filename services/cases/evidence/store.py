"""The port to the bytes: addressed by their SHA-256, written once, never changed."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

__all__ = [
    "BlobMissingError",
    "DigestMismatchError",
    "EvidenceStore",
    "Reading",
    "StoreError",
    "StoreFullError",
    "Stored",
    "TooLargeError",
    "storage_ref",
]  # fmt: skip


class StoreError(Exception):
    """The store cannot be used now; nothing is said about the bytes in it."""


class StoreFullError(StoreError):
    """There is no room; nothing of the upload was kept."""


class TooLargeError(Exception):
    """More bytes than an item may have; nothing was kept. ``limit`` is how many it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class DigestMismatchError(Exception):
    """The bytes are not those that were declared; nothing was kept."""

    def __init__(self, declared: str, found: str) -> None:
        super().__init__(f"declared {declared}, received {found}")
        self.declared, self.found = declared, found


class BlobMissingError(Exception):
    """The store works, and these bytes are not in it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes that are on disk for good."""

    sha256: str
    size: int
    ref: str


def storage_ref(sha256: str) -> str:
    """Return where the bytes of a digest lie, whatever the store: made of the digest alone."""
    return f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"


class Reading(Protocol):
    """Open bytes: what `digest` looked at is what `chunks` yields, even if the name is replaced."""

    @property
    def size(self) -> int: ...

    async def digest(self, bytes_per_second: int | None = None) -> str:
        """Return the SHA-256 of every byte, read now."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes from the start."""
        ...


class EvidenceStore(Protocol):
    """What the shell needs of a store of bytes, whichever it is."""

    async def put(
        self, chunks: AsyncIterator[bytes], *, declared: str | None, max_bytes: int
    ) -> Stored:
        """Keep *chunks*, durably, or nothing of them.

        DigestMismatchError, TooLargeError, StoreFullError, StoreError; whatever *chunks* raises.
        """
        ...

    def open(self, sha256: str) -> AbstractAsyncContextManager[Reading]:
        """Open the bytes of a digest; BlobMissingError, StoreError."""
        ...

    async def digests(self, older_than: datetime) -> list[str]:
        """Return the digests of everything that was last put before an instant."""
        ...

    async def remove(self, sha256: str, older_than: datetime) -> bool:
        """Remove the bytes unless they were put again since *older_than*; tell whether."""
        ...

    async def sweep(self, older_than: datetime) -> int:
        """Remove what uploads left half done before an instant; return how many."""
        ...

    async def protect(self, sha256: str, *, until: datetime | None, held: bool) -> None:
        """Lock the bytes until an instant at least, and as long as they are *held*.

        Where the store can: a directory cannot, and there the rules of `domain/` alone protect.
        BlobMissingError, StoreError.
        """
        ...

    async def problem(self) -> str | None:
        """Return in a sentence why evidence cannot be kept here, None if it can."""
        ...
