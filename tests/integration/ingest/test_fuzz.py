"""Malformed bodies at every door: never a 5xx, never a restart, no growth of memory.

TOCSIN_FUZZ is how many (2,000 by default; `make fuzz-doors` sends 100,000). The bodies follow from
TOCSIN_FUZZ_SEED, which a failure names.
"""

import asyncio
import gzip
import os
import random
import sys
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import cramjam
import httpx
import psutil
import pytest
import zstandard

from services.ingest.keys import ApiKey
from services.ingest.sources import Source
from tests.integration.ingest.test_doors import DOORS, credentials
from tests.integration.ingest.test_syslog_listener import free_port
from tests.support.ingest import make_key
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]
COUNT = int(os.environ.get("TOCSIN_FUZZ", "2000"))
SEED = int(os.environ.get("TOCSIN_FUZZ_SEED", "20260301"))
CONNECTIONS = 8

ENCODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "snappy": lambda b: bytes(cramjam.snappy.compress_raw(b)),
}
TYPES = [
    "", "application/json", "text/plain", "application/x-ndjson", "application/x-protobuf",
    "application/cloudevents+json", "application/cloudevents-batch+json", "application/xml",
    "text/plain; charset=utf-16",
]  # fmt: skip
NASTY = [
    b"\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"[" * 400, b"{" * 200, b'{"a":' * 300,
    b'"\\ud800"', b"1e999", b"-0", b"NaN", b"\xed\xa0\x80", b"\n\n\n", b"}{", b"\\",
    b"\xef\xbb\xbf",
    b"99999999999999999999999999", b"null", b"[]", b"{}", b'{"":""}', "ﬀ\u202e\U0001f525".encode(),
]  # fmt: skip


def mutated(rng: random.Random, body: bytes) -> bytes:
    """Return *body* spoilt in one to four ways."""
    data = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        match rng.randint(0, 6):
            case 0:
                del data[at:]
            case 1:
                del data[:at]
            case 2 if data:
                data[at % len(data)] ^= 1 << rng.randint(0, 7)
            case 3:
                data[at:at] = rng.choice(NASTY)
            case 4:
                data[at:at] = rng.randbytes(rng.randint(1, 40))
            case 5:
                data += data[: rng.randint(0, 200)] * rng.randint(1, 20)
            case _:
                data[at : at + rng.randint(0, 9)] = b""
    return bytes(data)


def request(rng: random.Random, key: ApiKey) -> bytes:
    """Return a whole request whose body is wrong in some way."""
    name = rng.choice(list(DOORS))
    path, body, usual, _ = DOORS[name]
    headers = credentials(name, key)
    body = mutated(rng, body)
    content_type = usual if rng.random() < 0.8 else rng.choice(TYPES)
    if content_type:
        headers["content-type"] = content_type
    if rng.random() < 0.2:
        encoding = rng.choice(list(ENCODERS))
        headers["content-encoding"] = encoding
        body = ENCODERS[encoding](body)  # type: ignore[operator]  # one of four functions
        if rng.random() < 0.5:
            body = mutated(rng, body)
    if name == "hec" and rng.random() < 0.3:
        path = "/services/collector/raw"
    head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def ingest(world: World) -> AsyncIterator[tuple[psutil.Process, int]]:
    """Yield a process of the service and its port."""
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.ingest",
        env={
            **os.environ,
            "TOCSIN_INGEST_DATABASE_URL": world.service_dsn("ingest"),
            "TOCSIN_INGEST_NATS_URL": world.nats_url,
            "TOCSIN_INGEST_NATS_NKEY_SEED": world.seeds["ingest"],
            "TOCSIN_INGEST_PORT": str(port),
            "TOCSIN_INGEST_LOG_LEVEL": "ERROR",
        },
    )  # fmt: skip
    try:
        async with httpx.AsyncClient() as client:

            async def ready() -> bool:
                try:
                    answer = await client.get(f"http://127.0.0.1:{port}/readyz")
                except httpx.HTTPError:
                    return False
                return answer.status_code == 200

            await until(ready)
        yield psutil.Process(child.pid), port
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def send(port: int, requests: list[bytes]) -> Counter[int]:
    """Send *requests* over one connection each after the other; return the statuses."""
    statuses: Counter[int] = Counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for whole in requests:
        writer.write(whole)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise AssertionError(f"no answer to {whole!r}") from error
        status = int(head[9:12])
        statuses[status] += 1
        assert status < 500, (SEED, head, whole)
        at = head.lower().find(b"content-length: ")
        if at >= 0 and (size := int(head[at + 16 : head.index(b"\r", at)])):
            await reader.readexactly(size)
        if b"connection: close" in head.lower():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return statuses


async def test_malformed_bodies(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    key = await make_key(world, Source(id="fuzz"))
    rng = random.Random(SEED)  # noqa: S311 - to be repeated, not to be secret
    statuses: Counter[int] = Counter()

    async def round_of(server: psutil.Process, port: int, count: int) -> int:
        for _ in range(0, count, 1000):
            batch = [request(rng, key) for _ in range(min(1000, count))]
            shares = [batch[n::CONNECTIONS] for n in range(CONNECTIONS)]
            for found in await asyncio.gather(*(send(port, share) for share in shares)):
                statuses.update(found)
        return int(server.memory_info().rss)

    async with ingest(world) as (server, port):
        first = await round_of(server, port, max(1000, COUNT // 10))  # caches and arenas fill
        last = await round_of(server, port, COUNT)
        assert server.is_running()
    with capsys.disabled():
        print(f"\n  {statuses.total():,} bodies: {dict(sorted(statuses.items()))};"
              f" {first / 2**20:.0f} → {last / 2**20:.0f} MiB")  # fmt: skip
    assert statuses[200] + statuses[202] + statuses[204] > 0
    assert statuses[400] > 0
    assert last < first * 1.10
