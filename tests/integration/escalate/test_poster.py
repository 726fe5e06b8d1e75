"""Pages over HTTP: connections are kept, each for one host, and only to where the guard lets go."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from services.escalate.oncall.channels.http import Poster
from services.escalate.oncall.channels.lookups import Lookups
from services.escalate.paging import ChannelError
from shared.egress import AllowList

pytestmark = pytest.mark.integration
NAMES = ("a.example", "b.example")


@dataclass
class Server:
    """Answers 204 to each request. *hang_up*: closes after so many answers, saying nothing."""

    port: int = 0
    hang_up: int = 0
    connections: int = 0
    hosts: list[list[str]] = field(default_factory=list)  # of each connection, its requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        asked: list[str] = []
        self.hosts.append(asked)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = head.decode().lower().split("\r\n")
                length = next(f for f in fields if f.startswith("content-length"))
                await reader.readexactly(int(length.partition(":")[2]))
                if self.hang_up and len(asked) == self.hang_up:
                    break  # read, and gone without an answer
                asked.append(next(f for f in fields if f.startswith("host")).split()[1])
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(hang_up: int = 0) -> AsyncIterator[Server]:
    found = Server(hang_up=hang_up)
    listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        listening.close()


async def here(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def allowed(*ports: int) -> AllowList:
    return AllowList.parse([f"{name}:{port}" for name in NAMES for port in ports])


async def test_messages_one_after_the_other_go_over_one_connection() -> None:
    async with server() as found, Poster(allowed(found.port), here) as poster:
        for _ in range(20):
            await poster.post(f"http://a.example:{found.port}/", b"{}", {})
        assert found.connections == 1
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(poster.post(f"http://a.example:{found.port}/", b"{}", {}))
    assert found.connections <= 8
    assert sum(map(len, found.hosts)) == 28


async def test_a_connection_is_for_one_name_even_where_two_lead_to_one_address() -> None:
    async with server() as found, Poster(allowed(found.port), here) as poster:
        for name in NAMES * 3:
            await poster.post(f"http://{name}:{found.port}/", b"{}", {})
    assert sorted(found.hosts) == [[f"{name}:{found.port}"] * 3 for name in NAMES]


async def test_a_kept_connection_that_breaks_off_is_no_failure() -> None:
    async with server(hang_up=2) as found, Poster(allowed(found.port), here) as poster:
        for _ in range(6):
            await poster.post(f"http://a.example:{found.port}/", b"{}", {})
    assert [len(asked) for asked in found.hosts] == [2, 2, 2]


async def test_where_a_host_leads_is_judged_for_every_message() -> None:
    leads = ["127.0.0.1"]

    async def moving(host: str, port: int) -> Sequence[str]:
        return leads

    async with server() as found, Poster(AllowList.parse(["127.0.0.1/32"]), moving) as poster:
        url = f"http://a.example:{found.port}/"
        await poster.post(url, b"{}", {})
        leads[:] = ["10.0.0.7"]
        with pytest.raises(ChannelError, match="refused: only https"):
            await poster.post(url, b"{}", {})
        with pytest.raises(ChannelError, match="not a public address"):
            await poster.post(url.replace("http:", "https:"), b"{}", {})
    assert found.connections == 1


async def test_a_look_up_that_hangs_is_one_however_many_wait_for_it() -> None:
    asked: list[str] = []
    answer = asyncio.Event()

    async def slow(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        await answer.wait()
        if len(asked) == 1:
            raise OSError("no such name")
        return ["192.0.2.1"]

    lookups = Lookups(slow)
    waiting = [asyncio.create_task(lookups("a.example", 443)) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # takes the answer from nobody
    answer.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in found] == [asyncio.CancelledError, *[OSError] * 19]
    assert asked == ["a.example"]
    for _ in range(3):  # what failed is asked again, what was found is known for a while
        assert await lookups("a.example", 443) == ["192.0.2.1"]
    assert asked == ["a.example"] * 2
