"""Fixtures for every test: the public corpus, and a world with real PostgreSQL and NATS."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings as hypothesis_settings

from shared.serve import seldom_collect
from tests.support.world import Cluster, World, open_world
from tocsin.embedded.postgres import EmbeddedPostgres

# A busy machine makes an example slow, not wrong; pytest's own timeout bounds the whole.
hypothesis_settings.register_profile("tocsin", deadline=None)
hypothesis_settings.load_profile("tocsin")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """Look seldom for cyclic garbage: thousands of collected tests would be looked at each time."""
    seldom_collect()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their number: gzip writes the time into its own, and the names of tests have
    to be the same in every process that runs them."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of public data sets (TOCSIN_CORPUS); skips where there is none."""
    folder = Path(os.environ.get("TOCSIN_CORPUS", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the public data sets are not at {folder} (set TOCSIN_CORPUS)")
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-test-"))
    folder.chmod(0o711)
    postgres = EmbeddedPostgres(folder / "postgres", password="only-for-tests", durable=False)
    try:
        await postgres.start()
        cluster = Cluster(postgres)
        await cluster.prepare()
        yield cluster
    finally:
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """A database, a broker and tokens that no other test module touches."""
    async with open_world(cluster) as world:
        yield world
