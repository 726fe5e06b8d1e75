"""Links in pages that work without signing in: signed, for one page and one act, until one time."""

import base64
import binascii
import hmac
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["Act", "LinkError", "Links", "link_key"]

Act = Literal["ack", "set-severity"]
# A link for one act is no link for another.
_PURPOSE: Mapping[Act, bytes] = {
    "ack": b"tocsin page link v1",
    "set-severity": b"tocsin severity link v1",
}
_DRAW = text("INSERT INTO link_keys (id, key) VALUES (1, :key) ON CONFLICT DO NOTHING")
_KEY = text("SELECT key FROM link_keys WHERE id = 1")


class LinkError(Exception):
    """The link acknowledges nothing. ``expired``: it once did."""

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        super().__init__(reason)
        self.expired = expired


class Links:
    """Makes and reads links. *base* is where people reach escalate.

    The key is in the database, which may come up after this service: `load` first.
    """

    def __init__(self, base: str, key: bytes = b"") -> None:
        self._base, self._key = base, key

    async def load(self, engine: AsyncEngine) -> None:
        """Know the key from now on."""
        if not self._key:
            self._key = await link_key(engine)

    def link(self, page_id: UUID, expires: datetime, act: Act = "ack") -> str:
        """Return the address by which *page_id* is answered until *expires*."""
        return f"{self._base.rstrip('/')}/v1/{act}/{self.token(page_id, expires, act)}"

    def token(self, page_id: UUID, expires: datetime, act: Act = "ack") -> str:
        """Return what stands at the end of the link."""
        head = page_id.bytes + int(expires.timestamp()).to_bytes(8, "big")
        return base64.urlsafe_b64encode(head + self._mac(act, head)).decode().rstrip("=")

    def read(self, token: str, now: datetime, act: Act = "ack") -> UUID:
        """Return the page; LinkError for a link that is not ours or whose time is over."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise LinkError("The link is not one of ours.") from None
        head, mac = raw[:24], raw[24:]
        if len(raw) != 56 or not hmac.compare_digest(mac, self._mac(act, head)):
            raise LinkError("The link is not one of ours.")
        expires = datetime.fromtimestamp(int.from_bytes(head[16:], "big"), UTC)
        if now >= expires:
            raise LinkError("The link has expired.", expired=True)
        return UUID(bytes=head[:16])

    def _mac(self, act: Act, head: bytes) -> bytes:
        return hmac.new(self._key, _PURPOSE[act] + head, sha256).digest()


async def link_key(engine: AsyncEngine) -> bytes:
    """Return the key of this database's links; the first instance that asks draws it."""
    async with engine.begin() as connection:
        await connection.execute(_DRAW, {"key": os.urandom(32)})
        return bytes((await connection.execute(_KEY)).scalar_one())
