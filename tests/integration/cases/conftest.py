"""The cases service running in a world, and the people who talk to it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from services.cases.app import create_app
from services.cases.settings import Settings
from tests.integration.cases.conversation import People
from tests.support.world import World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(world: World) -> AsyncIterator[People]:
    """A running service with its cast."""
    async with world.running(create_app(world.settings(Settings))) as client:
        yield People(world, client)
