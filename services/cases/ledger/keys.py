"""The key that signs checkpoints: Ed25519, PKCS #8 in PEM, as `openssl genpkey` makes it."""

import base64
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.cases.ledger.verifier import VerifyKey
from shared.settings import SettingsError

__all__ = ["Signer", "load_signer"]


class Signer:
    """Signs texts as C2SP signed notes in the name of *origin*; the same text, the same note."""

    def __init__(self, origin: str, key: Ed25519PrivateKey) -> None:
        self.origin = origin
        self._key = key
        self.public = VerifyKey(origin, key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Return *text*, which ends in a newline, as a signed note."""
        return f"{text}\n{self.signature(text)}"

    def signature(self, text: str) -> str:
        """Return the line that signs *text* in a note."""
        signature = base64.b64encode(self.public.id + self._key.sign(text.encode())).decode()
        return f"— {self.origin} {signature}\n"


def load_signer(origin: str, path: Path) -> Signer:
    """Return the signer whose key is in *path*; SettingsError when there is none."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise SettingsError(f"TOCSIN_CASES_LOG_KEY_FILE: {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"TOCSIN_CASES_LOG_KEY_FILE: {path} holds no private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"TOCSIN_CASES_LOG_KEY_FILE: {path} holds no Ed25519 key")
    return Signer(origin, key)
