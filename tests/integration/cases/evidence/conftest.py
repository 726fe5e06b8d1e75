"""A cases service that keeps evidence in a real directory, under a clock that can be moved."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from services.cases.app import create_app
from services.cases.settings import Settings
from tests.integration.cases.conversation import People
from tests.integration.cases.evidence.keeping import MAX_BYTES, Clockwork, Custody
from tests.support.world import World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def custody(world: World, tmp_path_factory: object) -> AsyncIterator[Custody]:
    folder: Path = tmp_path_factory.mktemp("evidence")  # type: ignore[attr-defined]  # pytest's own
    clock = Clockwork()
    app = create_app(
        world.settings(
            Settings,
            evidence_dir=folder / "e",
            evidence_max_bytes=MAX_BYTES,
            evidence_encryption=False,  # tests look at the files; `test_sealed` has them sealed
        ),
        clock=clock,
    )
    async with world.running(app) as client:
        yield Custody(People(world, client), folder / "e", clock)
