"""Who is asking, and what they may do: bearer tokens (JWT, local keys or OpenID Connect).

`allow(Role.X, …)` is the dependency that every route carries; `public` marks the few that answer
anybody. `tests/contract/test_routes_are_guarded.py` fails on a route with neither.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import structlog
from fastapi import Depends, Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from shared.clock import Clock, utc_now
from shared.identity import Principal, Role
from shared.problems import ProblemError

__all__ = [
    "AuthError", "JwksFile", "JwtVerifier", "OidcKeys", "Principal", "Role", "allow", "is_guarded",
    "public",
]  # fmt: skip

ALGORITHMS = ("Ed25519", "EdDSA", "ES256", "RS256")
LEEWAY = 60
FRESH, REFRESH = 3600.0, 30.0  # seconds that fetched keys are used, and between attempts
MAX_TOKEN = 8192

log = structlog.get_logger()
F = TypeVar("F", bound=Callable[..., Any])


class AuthError(Exception):
    """The token proves nothing; the message is for the log, never for the caller."""


class KeySource(Protocol):
    """Where the public keys come from."""

    async def keys(self, *, refresh: bool = False) -> KeySet: ...


class JwksFile:
    """Public keys in a local file (RFC 7517), read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[float, KeySet] | None = None

    async def keys(self, *, refresh: bool = False) -> KeySet:
        modified = self._path.stat().st_mtime
        if self._read is None or self._read[0] != modified or refresh:
            import json

            self._read = (modified, KeySet.import_key_set(json.loads(self._path.read_text())))
        return self._read[1]


class OidcKeys:
    """Public keys of an OpenID provider: discovered, cached for an hour, refreshed sparingly."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer.rstrip("/")
        self._keys: KeySet | None = None
        self._fetched = 0.0
        self._not_before = 0.0
        self._lock = asyncio.Lock()

    async def keys(self, *, refresh: bool = False) -> KeySet:
        async with self._lock:
            age = time.monotonic() - self._fetched
            if age > FRESH or (refresh and age > REFRESH) or self._keys is None:
                await self._renew()
            if self._keys is None:
                raise ProblemError(
                    503,
                    "provider_unavailable",
                    "The identity provider does not answer, so nobody can be recognised.",
                    headers={"Retry-After": str(int(REFRESH))},
                )
            return self._keys

    async def _renew(self) -> None:
        """Fetch the keys; if that fails, the known ones stay good and it is tried again later."""
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + REFRESH
        try:
            self._keys = await self._fetch()
        except AuthError as error:
            log.warning("identity provider", error=str(error))
        else:
            self._fetched = time.monotonic()

    async def _fetch(self) -> KeySet:
        try:
            async with httpx.AsyncClient(timeout=5, follow_redirects=False) as client:
                found = await client.get(f"{self._issuer}/.well-known/openid-configuration")
                found.raise_for_status()
                document = found.json()
                if document.get("issuer", "").rstrip("/") != self._issuer:
                    raise AuthError("the provider names another issuer")
                answer = await client.get(document["jwks_uri"])
                answer.raise_for_status()
                return KeySet.import_key_set(answer.json())
        except (httpx.HTTPError, ValueError, KeyError, JoseError) as error:
            raise AuthError(f"keys of {self._issuer} cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class JwtVerifier:
    """Turns a bearer token into a Principal, or raises AuthError."""

    source: KeySource
    issuer: str
    audience: str
    roles_claim: str = "roles"
    role_map: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = utc_now

    async def verify(self, token: str) -> Principal:
        if len(token) > MAX_TOKEN:
            raise AuthError("token too long")
        try:
            try:
                decoded = jwt.decode(token, await self.source.keys(), algorithms=ALGORITHMS)
            except (JoseError, ValueError):  # perhaps signed by a key newer than our copy
                keys = await self.source.keys(refresh=True)
                decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
            if "crit" in decoded.header:
                raise AuthError("critical header extensions are not understood")
            jwt.JWTClaimsRegistry(
                now=int(self.clock().timestamp()),
                leeway=LEEWAY,
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "value": self.audience},
                exp={"essential": True},
                sub={"essential": True},
            ).validate(decoded.claims)
        except (JoseError, ValueError, OSError) as error:
            raise AuthError(f"{type(error).__name__}: {error}") from error
        return self._principal(decoded.claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        subject, tenant, groups = (claims.get(n) for n in ("sub", "tenant", self.roles_claim))
        if not isinstance(subject, str) or not subject:
            raise AuthError("sub is not a name")
        named = groups if isinstance(groups, list) else []
        roles = {self.role_map.get(str(group), str(group)) for group in named}
        known = frozenset(Role(role) for role in roles if role in set(Role))
        expires = float(claims["exp"])
        return Principal(subject, known, tenant if isinstance(tenant, str) else None, expires)


async def _verify(verifier: JwtVerifier | None, token: str) -> Principal:
    if verifier is None:
        raise AuthError("no key of any issuer is configured")
    return await verifier.verify(token)


async def _authenticate(request: Request) -> Principal:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise ProblemError(
            401,
            "token_missing",
            "This needs an Authorization: Bearer token.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    verifier: JwtVerifier | None = getattr(request.state, "verifier", None)
    try:
        return await _verify(verifier, token.strip())
    except AuthError as error:
        log.info("token refused", error=str(error))
        raise ProblemError(
            401,
            "token_invalid",
            "The bearer token is not valid here.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        ) from error


def allow(*roles: Role) -> Any:
    """Return the dependency that admits holders of any of *roles* and yields their Principal."""

    async def guard(request: Request) -> Principal:
        principal = await _authenticate(request)
        if not principal.has(*roles):
            raise ProblemError(
                403,
                "role_missing",
                f"This needs one of the roles {', '.join(sorted(roles))}.",
                needs=sorted(roles),
            )
        return principal

    guard.__tocsin_guard__ = frozenset(roles)  # type: ignore[attr-defined]  # read by is_guarded
    return Depends(guard)


def public(endpoint: F) -> F:
    """Mark *endpoint* as answering anybody: probes, metrics and published descriptions only."""
    endpoint.__tocsin_public__ = True  # type: ignore[attr-defined]  # read by is_guarded
    return endpoint


def is_guarded(route: Any) -> bool:
    """Tell whether *route* demands a role, or is marked public."""
    endpoint = getattr(route, "endpoint", None)
    if getattr(endpoint, "__tocsin_public__", False):
        return True
    if getattr(endpoint, "__tocsin_guard__", None):  # a plain ASGI application guards itself
        return True
    pending = [route.dependant] if hasattr(route, "dependant") else []
    while pending:
        dependant = pending.pop()
        if getattr(dependant.call, "__tocsin_guard__", None):
            return True
        pending += dependant.dependencies
    return False
