"""The only source of randomness: time-ordered ids, secrets, jitter; and ids derived from causes."""

import random
import secrets
import time
from uuid import UUID, uuid5

__all__ = [
    "derived_id", "jitter", "new_hex_key", "new_secret", "seed", "uuid7", "uuid7_text",
    "uuid7_texts",
]  # fmt: skip

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # RFC 9562, §4.1
_NAMESPACE = UUID("6f1a3f0e-5b0b-5d55-9a5e-70c51a000001")


def uuid7() -> UUID:
    """Return a new time-ordered id (RFC 9562, version 7)."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def uuid7_text() -> str:
    """Return a new id of version 7 as text, at a third of the cost of ``str(uuid7())``."""
    head, noise = f"{time.time_ns() // 1_000_000:012x}", secrets.token_hex(10)
    variant = _VARIANT[noise[3]]
    return f"{head[:8]}-{head[8:]}-7{noise[:3]}-{variant}{noise[4:7]}-{noise[7:19]}"


def uuid7_texts(count: int) -> list[str]:
    """Return *count* new ids of version 7 as text, at a tenth of the cost of as many `uuid7()`.

    Random once, then counting up (RFC 9562, §6.2, method 2): so they sort in the order given.
    """
    head = f"{time.time_ns() // 1_000_000:012x}"
    noise = secrets.token_hex(4)
    head = f"{head[:8]}-{head[8:]}-7{noise[:3]}-{_VARIANT[noise[3]]}{noise[4:7]}-"
    start = secrets.randbits(47)  # of 48 bits, so that counting never overflows
    return [f"{head}{number:012x}" for number in range(start, start + count)]


def derived_id(kind: str, *causes: object) -> UUID:
    """Return the id that *causes* always lead to, so that doing a thing twice names it once."""
    return uuid5(_NAMESPACE, "\x1f".join((kind, *map(str, causes))))


def new_secret(size: int = 32) -> str:
    """Return *size* random bytes as URL-safe text."""
    return secrets.token_urlsafe(size)


def new_hex_key() -> str:
    """Return 128 random bits as 32 small digits and letters: what a mail address can carry."""
    return secrets.token_hex(16)


def seed(bits: int) -> int:
    """Return where a counter begins, so that two processes seldom count the same."""
    return secrets.randbits(bits)


def jitter(seconds: float) -> float:
    """Return a delay from half of *seconds* to all of it, so that retries do not march in step."""
    return seconds * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing
