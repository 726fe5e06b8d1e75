"""Whatever is sent to the cases API: no 5xx, and only what its description documents.

Requests are generated from the description itself (schemathesis), half of them as documented and
half not, against incidents, evidence and reviews that exist. TOCSIN_FUZZ_EXAMPLES is how many there
are for each operation (`make fuzz` sends many).
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.cases.app import create_app
from services.cases.settings import Settings
from shared.auth import Role
from tests.integration.cases.conversation import People
from tests.support.ledger import key_path
from tests.support.world import World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

EXAMPLES = int(os.environ.get("TOCSIN_FUZZ_EXAMPLES", "2"))
ENDLESS = {"/v1/stream"}  # server-sent events end when the client goes
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ITEM = {
    "kind": "log_extract",
    "collector": "eve",
    "tool": "journalctl",
    "tool_version": "252",
    "method": "export",
    "source_asset": "m1",
    "volatility_rank": 5,
    "acquired_at": "2026-01-01T00:00:00Z",
}


@dataclass
class Target:
    """The running service, what exists in it, and who asks."""

    client: httpx.AsyncClient
    description: dict[str, Any]
    known: dict[str, list[str]]
    headers: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    app = create_app(
        world.settings(Settings, evidence_dir=folder / "e", log_key_file=key_path(folder))
    )
    async with world.running(app) as client:
        people = People(world, client)
        incident, review = await people.in_review()
        early = await people.investigating()
        fresh = await people.opened()
        item = await client.post(
            f"/v1/incidents/{early}/evidence", json=ITEM, headers=people.bearer("eve")
        )
        assert item.status_code == 201, item.text
        token = world.token("omni", *(role.value for role in Role))
        yield Target(
            client,
            app.openapi(),
            {
                "incident_id": [incident, early, fresh],
                "review_id": [review],
                "evidence_id": [item.json()["evidence_id"]],
            },
            {"Authorization": f"Bearer {token}"},
        )


def operations(description: dict[str, Any]) -> list[Any]:
    schema = schemathesis.openapi.from_dict(description)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return [x for x in found if x.path not in ENDLESS and "probes" not in (x.tags or ())]


def version_of(target: Target, named: dict[str, Any]) -> str:
    """Return the ETag of what the path names, so that commands get past 412; else a wrong one."""
    for name, ids in target.known.items():
        if named.get(name) in ids:
            kind = {"incident_id": "incidents", "review_id": "reviews"}.get(name, "evidence")
            url = f"{target.client.base_url}/v1/{kind}/{named[name]}"
            return str(httpx.get(url, headers=target.headers, timeout=30).headers.get("ETag", "0"))
    return '"1"'


def fuzz(target: Target, operation: Any) -> int:
    """Send generated requests to one operation; return how many were sent."""
    base = str(target.client.base_url)
    sent = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],  # a failure is told as it is; shrinking takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        nonlocal sent
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        for name, ids in target.known.items():
            if name in (case.path_parameters or {}) and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(ids))
        headers = dict(target.headers)
        if data.draw(st.integers(0, 9)) == 0:
            del headers["Authorization"]
        if operation.method.lower() == "post" and data.draw(st.integers(0, 4)):
            headers["If-Match"] = version_of(target, case.path_parameters or {})
        sent += 1
        case.call_and_validate(base_url=base, headers=headers, checks=CHECKS, timeout=30)

    ask()
    return sent


async def test_no_request_is_answered_with_what_is_not_documented(target: Target) -> None:
    total, failures = 0, []
    for operation in operations(target.description):
        try:
            # The service answers on this loop; the requests are sent from a thread.
            total += await asyncio.to_thread(fuzz, target, operation)
        except Exception as error:  # noqa: BLE001 - every kind of failure is told, of all operations
            failures.append(f"{operation.method.upper()} {operation.path}: {error}")
    print(f"\n{total} requests to {len(operations(target.description))} operations")
    assert not failures, "\n\n".join(failures)
    assert total >= EXAMPLES
