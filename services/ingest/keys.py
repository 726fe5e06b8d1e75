"""API keys of log sources: ``tocsin_<id>_<secret>``, stored only as a peppered hash."""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

__all__ = ["ApiKey", "hash_secret", "key_from_header", "same_hash"]

_SHAPE = re.compile(r"tocsin_([a-z0-9]{1,32})_([A-Za-z0-9_-]{20,100})")
_SCHEMES = {"bearer", "splunk", "apikey"}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The two halves of a key: the id finds the row, the secret proves the right."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"tocsin_{self.id}_{self.secret}"

    @classmethod
    def parse(cls, text: str) -> "ApiKey | None":
        match = _SHAPE.fullmatch(text)
        return cls(match[1], match[2]) if match else None


def hash_secret(secret: str, pepper: str) -> bytes:
    """Return what is stored of a 256-bit secret; a slow hash would add nothing to that entropy."""
    return hmac.digest(pepper.encode(), secret.encode(), hashlib.sha256)


def same_hash(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)


def key_from_header(authorization: str) -> ApiKey | None:
    """Return the key in an Authorization header, in any scheme that shippers use, or None.

    ``Bearer``, ``Splunk`` and ``ApiKey`` carry the key itself (Elasticsearch clients base64-encode
    ``id:secret`` under ApiKey); ``Basic`` carries it as the password, whatever the user name.
    """
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() in _SCHEMES and (key := ApiKey.parse(value)):
        return key
    if scheme.lower() in {"basic", "apikey"}:
        try:
            decoded = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return ApiKey.parse(decoded.partition(":")[2])
    return None
