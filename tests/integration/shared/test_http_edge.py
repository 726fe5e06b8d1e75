"""What every service's edge does: bounds, ids, probes, and a clear word when a part is away."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from services.cases.app import create_app as cases_app
from services.cases.settings import Settings as CasesSettings
from services.notify.app import create_app as notify_app
from services.notify.settings import Settings as NotifySettings
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


def bearer(world: World, *roles: str) -> dict[str, str]:
    return {"authorization": f"Bearer {world.token('anna', *roles)}"}


async def test_a_body_over_the_bound_is_413_however_it_is_sent(world: World) -> None:
    async with world.running(cases_app(world.settings(CasesSettings))) as client:
        headers = bearer(world, "security_response")
        big = b'{"title":"' + b"x" * (2 << 20) + b'"}'

        async def chunked() -> AsyncIterator[bytes]:
            for start in range(0, len(big), 65536):
                yield big[start : start + 65536]

        for content in (big, chunked()):
            answer = await client.post("/v1/incidents", content=content, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "not_json"),
        (b'{"title": 3}', 422, "malformed"),
        (b'{"title": "t", "reason": "r", "surprise": 1}', 422, "malformed"),
    ],
)
async def test_a_body_of_the_wrong_shape_says_where(
    world: World, body: bytes, status: int, code: str
) -> None:
    async with world.running(cases_app(world.settings(CasesSettings))) as client:
        answer = await client.post(
            "/v1/incidents",
            content=body,
            headers={**bearer(world, "security_response"), "content-type": "application/json"},
        )
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_without_its_database_a_service_says_503_and_is_not_ready(world: World) -> None:
    away = SecretStr("postgresql://nobody:x@127.0.0.1:1/none")
    settings = world.settings(CasesSettings, database_url=away)
    async with world.running(cases_app(settings)) as client:
        answer = await client.get("/v1/incidents", headers=bearer(world, "security_response"))
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"]
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert "PostgreSQL" in ready.json()["missing"]["database"]
        assert (await client.get("/livez")).status_code == 200


async def test_a_service_recovers_by_itself_when_the_broker_returns(world: World) -> None:
    async with world.running(notify_app(world.settings(NotifySettings))) as client:
        await until(lambda: _ready(client))
        await world.broker.stop()
        await until(lambda: _unready(client))
        await world.broker.start()
        await until(lambda: _ready(client))


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def _unready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 503


async def test_probes_and_metrics_answer_anybody_and_the_rest_nobody(world: World) -> None:
    async with world.running(notify_app(world.settings(NotifySettings))) as client:
        metrics = await client.get("/metrics")
        assert "tocsin_http_requests_total" in metrics.text
        await asyncio.gather(*(client.get(path) for path in ("/livez", "/startupz")))
        refused = await client.get("/v1/inventory")
        assert (refused.status_code, refused.json()["code"]) == (401, "token_missing")
        wrong = await client.get("/v1/inventory", headers={"authorization": "Bearer nonsense"})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "token_invalid")
        assert (await client.get("/docs")).status_code == 404
