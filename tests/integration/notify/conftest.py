"""Notify's stage: one a test, in the module's world."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.integration.notify.stage import Stage
from tests.support.smtp_sink import smtp_sink
from tests.support.webhook_sink import webhook_sink
from tests.support.world import World


@pytest_asyncio.fixture(loop_scope="session")
async def stage(world: World, tmp_path: Path) -> AsyncIterator[Stage]:
    async with world.bus("cases") as bus, smtp_sink() as smtp, webhook_sink() as hooks:
        yield Stage(world, bus, smtp, hooks, tmp_path)
