"""Tokens of an OpenID provider: discovered keys, rotation, an absent provider."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import shared.auth
from services.cases.app import create_app
from services.cases.settings import Settings
from shared.clock import utc_now
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


@dataclass
class Provider:
    """A real HTTP server that answers as an OpenID provider does."""

    keys: list[RSAKey] = field(default_factory=list)
    url: str = ""
    asked: int = 0
    broken: bool = False

    async def configuration(self, _: Request) -> JSONResponse:
        return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, _: Request) -> JSONResponse:
        self.asked += 1
        if self.broken:
            return JSONResponse({}, 500)
        return JSONResponse(KeySet(list(self.keys)).as_dict(private=False))

    def token(self, key: RSAKey, **claims: Any) -> str:
        standard = {
            "iss": self.url,
            "aud": "tocsin",
            "sub": "zoe",
            "exp": int(utc_now().timestamp()) + 600,
            "groups": ["soc"],
        }
        header = {"alg": "RS256", "kid": key.kid}
        return jwt.encode(header, {**standard, **claims}, key, algorithms=["RS256"])


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": kid, "use": "sig"})


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    found = Provider([new_key("one")])
    app = Starlette(
        routes=[
            Route("/.well-known/openid-configuration", found.configuration),
            Route("/keys", found.jwks),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    found.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.should_exit = True
        await task


async def test_a_provider_is_trusted_for_its_keys_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.auth, "REFRESH", 0.0)
    async with provider() as idp:
        settings = world.settings(
            Settings,
            oidc_issuer=idp.url,
            roles_claim="groups",
            role_map={"soc": "security_response"},
        )
        async with world.running(create_app(settings)) as client:

            async def status(token: str) -> int:
                headers = {"authorization": f"Bearer {token}"}
                return (await client.get("/v1/incidents", headers=headers)).status_code

            first = idp.keys[0]
            assert await status(idp.token(first)) == 200
            assert await status(idp.token(first, groups=["nobody"])) == 403
            assert await status(idp.token(first, aud="another")) == 401
            assert await status(idp.token(new_key("one"))) == 401
            assert await status(world.token("anna", "security_response")) == 401  # another issuer
            rotated = new_key("two")
            idp.keys.append(rotated)
            assert await status(idp.token(rotated)) == 200  # fetched anew for an unknown key
            idp.broken = True
            assert await status(idp.token(first)) == 200  # known keys stay good without it


async def test_without_a_provider_nobody_is_recognised_and_it_says_so(world: World) -> None:
    settings = world.settings(Settings, oidc_issuer="http://127.0.0.1:1")
    async with world.running(create_app(settings)) as client:
        headers = {"authorization": f"Bearer {world.token('anna', 'security_response')}"}
        answers = [await client.get("/v1/incidents", headers=headers) for _ in range(3)]
    assert {(a.status_code, a.json()["code"]) for a in answers} == {(503, "provider_unavailable")}
