"""The keys of cases: the one that signs the log, and the one that wraps its data keys."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from services.cases.sealing.kek import Keks, load_keks
from tocsin.home import Home

__all__ = ["MASTER_KEY", "keks_of", "new_log_key", "new_master_key"]


MASTER_KEY = "cases.master-key"
"""The secret's name in a home and in a folder of secrets."""


def new_log_key() -> str:
    """Return a new Ed25519 private key: PKCS #8, PEM."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()


def new_master_key() -> str:
    """Return a new key-encryption key: 256 random bits, hexadecimal."""
    return secrets.token_hex(32)


def keks_of(home: Home) -> Keks:
    """Return the keys that wrap the data keys: those that are set, or those of a local platform.

    SettingsError when there are none.
    """
    named = os.environ.get("TOCSIN_CASES_MASTER_KEY_FILE")
    return load_keks(Path(named) if named else home.secrets.path(MASTER_KEY))
