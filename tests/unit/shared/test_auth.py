"""Tokens prove who asks; anything short of that proves nothing."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey, RSAKey

from shared.auth import AuthError, JwksFile, JwtVerifier, Principal, Role
from tocsin.tokens import LocalIssuer, TokenError

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Keys:
    def __init__(self, *keys: OKPKey | RSAKey) -> None:
        self._keys = KeySet(list(keys))

    async def keys(self, *, refresh: bool = False) -> KeySet:
        return self._keys


def verifier(key: OKPKey | RSAKey, **role_map: str) -> JwtVerifier:
    return JwtVerifier(Keys(key), "iss", "tocsin", role_map=role_map, clock=lambda: NOW)


KEY = OKPKey.generate_key("Ed25519", parameters={"kid": "a"})
EXPIRES = int((NOW + timedelta(hours=1)).timestamp())
GOOD = {
    "iss": "iss",
    "aud": "tocsin",
    "sub": "alice",
    "exp": EXPIRES,
    "roles": ["service_team", "gods"],
}


def token(claims: dict[str, object], *, key: OKPKey = KEY, **header: object) -> str:
    return jwt.encode({"alg": "Ed25519", "kid": "a", **header}, claims, key, algorithms=["Ed25519"])


async def test_a_good_token_names_its_holder_and_known_roles_only() -> None:
    found = await verifier(KEY).verify(token(GOOD | {"tenant": "t1"}))
    assert found == Principal("alice", frozenset({Role.SERVICE_TEAM}), "t1", float(EXPIRES))


async def test_groups_of_a_provider_become_roles() -> None:
    found = await verifier(KEY, soc="security_response").verify(token(GOOD | {"roles": ["soc"]}))
    assert found.roles == {Role.SECURITY_RESPONSE}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"exp": int((NOW - timedelta(minutes=2)).timestamp())},
        {"exp": None},
        {"sub": ""},
        {"nbf": int((NOW + timedelta(hours=1)).timestamp())},
    ],
    ids=str,
)
async def test_a_wrong_claim_proves_nothing(claims: dict[str, object]) -> None:
    merged = {k: v for k, v in (GOOD | claims).items() if v is not None}
    with pytest.raises(AuthError):
        await verifier(KEY).verify(token(merged))


async def test_a_foreign_key_an_unsigned_token_and_a_long_one_prove_nothing() -> None:
    foreign = OKPKey.generate_key("Ed25519", parameters={"kid": "a"})
    part = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    body = token(GOOD).split(".")[1]
    for bad in (token(GOOD, key=foreign), f"{part}.{body}.", "x" * 9000, "a.b.c", ""):
        with pytest.raises(AuthError):
            await verifier(KEY).verify(bad)


async def test_the_public_key_is_no_shared_secret() -> None:
    rsa = RSAKey.generate_key(2048, parameters={"kid": "a"})
    from joserfc.jwk import OctKey

    forged = jwt.encode(
        {"alg": "HS256", "kid": "a"}, GOOD, OctKey.import_key("x" * 32), algorithms=["HS256"]
    )
    with pytest.raises(AuthError):
        await verifier(rsa).verify(forged)


async def test_the_local_issuer_keeps_its_key_to_itself(tmp_path: Path) -> None:
    issuer = LocalIssuer(tmp_path)
    assert issuer.private_file.stat().st_mode & 0o077 == 0
    assert '"d"' not in issuer.jwks_file.read_text()
    issued = LocalIssuer(tmp_path).issue("bob", ["legal"], clock=lambda: NOW)
    check = JwtVerifier(JwksFile(issuer.jwks_file), "tocsin-local", "tocsin", clock=lambda: NOW)
    assert (await check.verify(issued)).roles == {Role.LEGAL}
    with pytest.raises(TokenError, match="no role named king"):
        issuer.issue("bob", ["king"])
