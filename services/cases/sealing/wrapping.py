"""Keys encrypted by the operator's master key (AES-256-GCM, NIST SP 800-38D)."""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import UserError

__all__ = ["KEY_BYTES", "MasterKeyError", "load_master_key", "unwrap", "wrap"]

KEY_BYTES = 32
_NONCE_BYTES = 12


class MasterKeyError(UserError):
    """The master key cannot be read, or is not the one that wrapped a key."""


def load_master_key(path: Path) -> bytes:
    """Return the 32 bytes that *path* holds as 64 hexadecimal digits; MasterKeyError if not."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise MasterKeyError(f"The master key in {path} cannot be read: {error}") from error
    if len(key) != KEY_BYTES:
        raise MasterKeyError(
            f"The master key in {path} has {len(key)} bytes; it must have {KEY_BYTES}"
            " (64 hexadecimal digits)."
        )
    return key


def wrap(master: bytes, key: bytes, name: bytes) -> bytes:
    """Return *key* encrypted, bound to *name*: nonce and ciphertext."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(master).encrypt(nonce, key, name)


def unwrap(master: bytes, wrapped: bytes, name: bytes) -> bytes:
    """Return the key that *wrapped* holds; MasterKeyError with another master key or name."""
    try:
        return AESGCM(master).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], name)
    except InvalidTag as error:
        raise MasterKeyError(
            f"The key {name.decode(errors='replace')} does not open with this master key."
        ) from error
