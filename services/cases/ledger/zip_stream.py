"""A zip file as a stream: written while it is sent, so that no size needs memory or disk."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

__all__ = ["EPOCH", "ZipStream"]

EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content, the same bytes


class _Outlet(io.RawIOBase):
    """Takes what is written and hands it on; it cannot be sought in."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held


class ZipStream:
    """Yields the bytes of a zip file, entry by entry; `end` yields what comes last."""

    def __init__(self) -> None:
        self._outlet = _Outlet()
        self._zip = zipfile.ZipFile(self._outlet, "w")

    def file(self, name: str, content: bytes) -> bytes:
        """Add a small file."""
        self._zip.writestr(_info(name, zipfile.ZIP_DEFLATED), content)
        return self._outlet.taken()

    async def stream(self, name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Add a file of any size, as it is."""
        with self._zip.open(_info(name, zipfile.ZIP_STORED), "w", force_zip64=True) as entry:
            async for chunk in chunks:
                await asyncio.to_thread(entry.write, chunk)
                yield self._outlet.taken()
        yield self._outlet.taken()

    def end(self) -> bytes:
        """Return the directory, without which nobody takes it for whole."""
        self._zip.close()
        return self._outlet.taken()


def _info(name: str, how: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = how
    info.external_attr = 0o644 << 16
    return info
