"""SIGTERM: what is in hand is finished, the process ends, and the next one serves."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import until
from tocsin.stack import LOCAL_SOURCE, Stack, StackOptions
from tocsin.supervisor import State

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


async def test_a_request_in_flight_is_answered(place: Path) -> None:
    async with Stack(StackOptions(root=place / "p", random_ports=True)) as stack:
        assert stack.supervisor is not None
        pid = stack.supervisor.states["ingest"].pid
        assert pid is not None
        begun, ended = asyncio.Event(), asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b'{"n": 1}\n'
            begun.set()
            await ended.wait()
            yield b'{"n": 2}\n'

        headers = {"Authorization": f"Bearer {stack.key(LOCAL_SOURCE)}"}
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            url = f"{stack.urls['ingest']}/v1/events"
            request = asyncio.create_task(client.post(url, content=body(), headers=headers))
            await begun.wait()
            os.kill(pid, signal.SIGTERM)
            await until(lambda: _refused(stack.urls["ingest"]))
            ended.set()
            answer = await request
            assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
            supervisor = stack.supervisor
            await until(lambda: supervisor.states["ingest"].pid not in {None, pid})
            await until(lambda: supervisor.states["ingest"].state is State.READY)
            again = await client.post(url, content=b'{"n": 3}', headers=headers)
            assert again.status_code == 202


async def _refused(url: str) -> bool:
    """Tell whether the service takes no new connection any more."""
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            return (await client.get(f"{url}/readyz")).status_code == 503
    except httpx.HTTPError:
        return True
