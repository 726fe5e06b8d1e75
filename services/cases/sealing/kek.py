"""The key-encryption keys: what wraps the data keys, kept by the operator outside the database.

A file of one key a line, 64 hexadecimal digits each. The first one wraps; those below it still open
what they wrapped, until `tocsin cases rotate-keys` has wrapped everything anew.
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.settings import SettingsError

__all__ = ["KEY_BYTES", "Keks", "WrongKekError", "load_keks"]

KEY_BYTES = 32
NONCE = 12
_VARIABLE = "TOCSIN_CASES_MASTER_KEY_FILE"


class WrongKekError(SettingsError):
    """A data key was wrapped by a key that is not in the file, or is not what was wrapped."""


class Keks:
    """The keys of the file; ids of keys are digests, so that a wrapped key names its own."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {hashlib.sha256(b"tocsin kek\n" + key).hexdigest()[:16]: key for key in keys}
        self.current = next(iter(self._keys))

    def wrap(self, key: bytes, name: bytes) -> bytes:
        """Return *key* encrypted under the current key, bound to *name*."""
        nonce = os.urandom(NONCE)
        return nonce + AESGCM(self._keys[self.current]).encrypt(nonce, key, name)

    def unwrap(self, kek: str, wrapped: bytes, name: bytes) -> bytes:
        """Return the key that *wrapped* holds; WrongKekError without the key that wrapped it."""
        if kek not in self._keys:
            raise WrongKekError(
                f"{_VARIABLE}: data keys were wrapped by key {kek}, which is not in the file;"
                f" it has {', '.join(self._keys)}"
            )
        try:
            return AESGCM(self._keys[kek]).decrypt(wrapped[:NONCE], wrapped[NONCE:], name)
        except (InvalidTag, ValueError) as error:
            raise WrongKekError(
                f"data key {name.decode()} does not open under key {kek}: the table was altered"
            ) from error


def load_keks(path: Path | None) -> Keks:
    """Return the keys in *path*; SettingsError when there is no file, or no key in it."""
    if path is None:
        raise SettingsError(f"{_VARIABLE} is not set: personal data are stored under its key only")
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{_VARIABLE}: {path}: {told}") from error
    try:
        keys = [bytes.fromhex(line) for line in lines]
    except ValueError:
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise SettingsError(f"{_VARIABLE}: {path} has to hold 64 hexadecimal digits a line")
    return Keks(keys)
