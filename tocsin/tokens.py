"""A local issuer of bearer tokens, for platforms without an identity provider.

The private key stays in one file of mode 0600; services are given only the public JWKS file.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from shared.clock import Clock, utc_now
from shared.errors import UserError
from shared.identity import LOCAL_ISSUER, Role
from shared.ids import uuid7

__all__ = ["LocalIssuer", "TokenError"]


class TokenError(UserError):
    """The wanted token would mean nothing; the message says why."""


class LocalIssuer:
    """Signs tokens with an Ed25519 key kept in *folder* (made on first use)."""

    def __init__(self, folder: Path) -> None:
        self.private_file = folder / "issuer.key.json"
        self.jwks_file = folder / "issuer.jwks.json"
        if not self.private_file.exists():
            key = OKPKey.generate_key("Ed25519", parameters={"kid": str(uuid7()), "use": "sig"})
            self.private_file.touch(mode=0o600)
            self.private_file.write_text(json.dumps(key.as_dict(private=True)))
        self._key = OKPKey.import_key(json.loads(self.private_file.read_text()))
        if not self.jwks_file.exists():
            public = KeySet([self._key]).as_dict(private=False)
            self.jwks_file.write_text(json.dumps(public))

    def issue(
        self,
        subject: str,
        roles: Sequence[str],
        *,
        tenant: str | None = None,
        lifetime: timedelta = timedelta(hours=12),
        audience: str = "tocsin",
        clock: Clock = utc_now,
    ) -> str:
        """Return a signed token; TokenError for an unknown role or none."""
        if unknown := sorted(set(roles) - set(Role)):
            raise TokenError(f"no role named {', '.join(unknown)}; roles: {', '.join(Role)}")
        if not roles:
            raise TokenError("a token without a role opens nothing")
        now = clock()
        claims: dict[str, Any] = {
            "iss": LOCAL_ISSUER,
            "aud": audience,
            "sub": subject,
            "roles": list(roles),
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "jti": str(uuid7()),
        }
        if tenant is not None:
            claims["tenant"] = tenant
        header = {"alg": "Ed25519", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=["Ed25519"])
