"""A running escalate for tests of the whole service."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from services.escalate.app import create_app
from services.escalate.settings import Settings
from tests.support.world import World
from tests.unit.escalate.given import DIRECTORY


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def escalate(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of security response for an escalate with the directory of the unit tests."""
    file = tmp_path_factory.mktemp("escalate") / "directory.yml"
    file.write_text(DIRECTORY)
    settings = world.settings(Settings, directory_file=file, extend_seconds=0.05)
    async with world.running(create_app(settings)) as client:
        token = world.token("sam", "security_response")
        client.headers["authorization"] = f"Bearer {token}"
        yield client
