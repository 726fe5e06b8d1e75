"""The only source of randomness: time-ordered ids, secrets, jitter; and ids derived from causes."""

import random
import secrets
import time
from uuid import UUID, uuid5

__all__ = ["derived_id", "jitter", "new_secret", "uuid7"]

_NAMESPACE = UUID("6f1a3f0e-5b0b-5d55-9a5e-70c51a000001")


def uuid7() -> UUID:
    """Return a new time-ordered id (RFC 9562, version 7)."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def derived_id(kind: str, *causes: object) -> UUID:
    """Return the id that *causes* always lead to, so that doing a thing twice names it once."""
    return uuid5(_NAMESPACE, "\x1f".join((kind, *map(str, causes))))


def new_secret(size: int = 32) -> str:
    """Return *size* random bytes as URL-safe text."""
    return secrets.token_urlsafe(size)


def jitter(seconds: float) -> float:
    """Return a delay from half of *seconds* to all of it, so that retries do not march in step."""
    return seconds * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing
