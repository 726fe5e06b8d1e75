"""Shippers of several protocols at once that send and repeat until they hear that it is durable."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import httpx
import orjson

from tests.support.ingest_process import IngestProcess
from tocsin.embedded.ports import LOOPBACK

__all__ = ["PROTOCOLS", "Shippers", "marks_in"]

A_REQUEST = 50
PAUSE = 0.01
WORKERS = 2  # of each protocol
_MARK = re.compile(r"mark-[a-z]+-\d+-\d+")

Send = Callable[[str, Sequence[str]], Awaitable[bool]]


def marks_in(texts: Sequence[str]) -> list[str]:
    """Return the mark of each event among *texts*, repeats included."""
    return [found[0] for text in texts if (found := _MARK.search(text))]


class Shippers:
    """Sends to the replicas of *place* in turns; every event bears a mark of its own, and
    `accepted` knows by protocol which of them ingest said were durable."""

    def __init__(self, place: IngestProcess) -> None:
        self._place = place
        self._numbers = itertools.count()
        self._turns = itertools.cycle(place.replicas)
        self._http = httpx.AsyncClient(timeout=60, trust_env=False)
        self.accepted: dict[str, set[str]] = {name: set() for name in PROTOCOLS}
        self.repeated = 0
        self._stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send for as long as the block lasts; afterwards nothing is on its way."""
        sends = {"ndjson": self._ndjson, "bulk": self._bulk, "hec": self._hec,
                 "syslog": self._syslog}  # fmt: skip
        self._stopping = False
        tasks = [
            asyncio.create_task(self._ship(name, sends[name]))
            for name in PROTOCOLS
            for _ in range(WORKERS)
        ]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.gather(*tasks)

    async def close(self) -> None:
        await self._http.aclose()

    def counts(self) -> dict[str, int]:
        """Return how many events of each protocol were accepted so far."""
        return {name: len(found) for name, found in self.accepted.items()}

    @property
    def everything(self) -> set[str]:
        return set().union(*self.accepted.values())

    async def _ship(self, name: str, send: Send) -> None:
        while not self._stopping:
            number = next(self._numbers)
            request = f"{name}-{number}"
            marks = [f"mark-{request}-{i}" for i in range(A_REQUEST)]
            while True:
                with suppress(httpx.HTTPError, OSError, EOFError):
                    if await send(request, marks):
                        self.accepted[name].update(marks)
                        break
                # What was not confirmed may be lost: as at the end of a run, so in the middle.
                if self._stopping:
                    return
                self.repeated += 1
                await asyncio.sleep(0.05)
            await asyncio.sleep(PAUSE)

    async def _post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        given = {"authorization": f"Bearer {self._place.key}"} | headers
        return await self._http.post(f"{next(self._turns).url}{path}", content=body, headers=given)

    async def _ndjson(self, request: str, marks: Sequence[str]) -> bool:
        body = b"\n".join(orjson.dumps({"mark": mark}) for mark in marks)
        headers = {"idempotency-key": request, "content-type": "application/x-ndjson"}
        answer = await self._post("/v1/events", body, **headers)
        if answer.status_code != 202:
            return False
        told = answer.json()
        assert told["accepted"] + told["duplicates"] == len(marks), told
        return True

    async def _bulk(self, request: str, marks: Sequence[str]) -> bool:
        lines = itertools.chain.from_iterable(
            (
                orjson.dumps({"create": {"_index": "logs", "_id": mark}}),
                orjson.dumps({"mark": mark}),
            )
            for mark in marks
        )
        headers = {"content-type": "application/x-ndjson"}
        answer = await self._post("/_bulk", b"\n".join(lines) + b"\n", **headers)
        if answer.status_code != 200:
            return False
        statuses = {next(iter(item.values()))["status"] for item in answer.json()["items"]}
        assert statuses <= {201, 409}, statuses  # 409: there is one under this id already
        return True

    async def _hec(self, request: str, marks: Sequence[str]) -> bool:
        body = b"".join(orjson.dumps({"event": {"mark": mark}}) for mark in marks)
        given = {"authorization": f"Splunk {self._place.key}"}
        answer = await self._post("/services/collector/event", body, **given)
        return answer.status_code == 200 and answer.json()["code"] == 0

    async def _syslog(self, request: str, marks: Sequence[str]) -> bool:
        """Syslog has no answer: ingest closes a connection when all of it is durable. A process
        that is killed closes it too, so only a connection that one life saw to its end counts."""
        replica = next(self._turns)
        life = replica.life
        reader, writer = await asyncio.open_connection(LOOPBACK, replica.syslog_port)
        try:
            for mark in marks:
                writer.write(f"<34>1 2026-01-02T03:04:05Z fw app 7 - - {mark}\n".encode())
            writer.write_eof()
            ended = await asyncio.wait_for(reader.read(), 60)
        except TimeoutError:
            return False
        finally:
            writer.close()
        return ended == b"" and replica.life == life


PROTOCOLS = ("ndjson", "bulk", "hec", "syslog")
