"""Status tokens: an address that shows one case to whoever has it, until it expires."""

import hashlib
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ids import new_secret

__all__ = ["LIFE", "TokenExpiredError", "case_behind", "issue"]

LIFE = timedelta(days=90)
MOST = 10  # a case; the oldest go

_ADD = text(
    "INSERT INTO support_case_tokens (digest, case_id, issued_at, expires_at)"
    " VALUES (:digest, :case, :now, :expires)"
)
_TRIM = text(
    "DELETE FROM support_case_tokens WHERE case_id = :case AND digest NOT IN (SELECT digest FROM"
    " support_case_tokens WHERE case_id = :case ORDER BY issued_at DESC, digest LIMIT :most)"
)
_FIND = text("SELECT case_id, expires_at FROM support_case_tokens WHERE digest = :digest")


class TokenExpiredError(Exception):
    """The address was good once."""


async def issue(connection: AsyncConnection, case_id: UUID, now: datetime) -> tuple[str, datetime]:
    """Return a new secret for *case_id*, and when it ends; only its digest is kept."""
    secret, expires = new_secret(32), now + LIFE
    values = {"digest": _digest(secret), "case": case_id, "now": now, "expires": expires}
    await connection.execute(_ADD, values)
    await connection.execute(_TRIM, {"case": case_id, "most": MOST})
    return secret, expires


async def case_behind(connection: AsyncConnection, secret: str, now: datetime) -> UUID | None:
    """Return the case that *secret* is for, None if for none; TokenExpiredError if no more."""
    row = (await connection.execute(_FIND, {"digest": _digest(secret)})).one_or_none()
    if row is None:
        return None
    if row.expires_at <= now:
        raise TokenExpiredError
    found: UUID = row.case_id
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
