"""The read side of cases: how fast views are made anew, and how long people wait for them.

TOCSIN_BENCH_INCIDENTS sets the scale (200 unless told; 20 events each).
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.cases.app import create_app
from services.cases.domain import events as e
from services.cases.domain.events import Event
from services.cases.domain.vocabulary import State
from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from services.cases.settings import Settings
from shared.ids import uuid7
from tests.integration.cases.conversation import People
from tests.support.golden_events import one_of_each
from tests.support.incidents import story
from tests.support.world import World

pytestmark = pytest.mark.benchmark

INCIDENTS = int(os.environ.get("TOCSIN_BENCH_INCIDENTS", "200"))
WRITERS = 32
WORDS = ("beacon", "phishing", "credential", "exfiltration", "ransom", "lateral", "token", "macro")


def events_of(number: int) -> list[Event]:
    """Return twenty events of an incident, with words of its own."""
    told = story(State.CONFIRMED)
    opened = told[0]
    assert isinstance(opened, e.IncidentOpened)
    note = one_of_each()["NoteAdded.v1"]
    assert isinstance(note, e.NoteAdded)
    title = f"{WORDS[number % 8]} on host-{number:06d}"
    first = replace(opened, title=title, services=(f"svc-{number % 50}",))
    notes = [
        replace(note, note_id=uuid7(), text=f"{WORDS[(number + n) % 8]} seen, case {number}.{n}")
        for n in range(20)
    ]
    return [first, *told[1:], *notes][:20]


async def fill(store: PostgresStore) -> None:
    """Append every incident through the one append call, many writers at once."""
    left = iter(range(INCIDENTS))

    async def write() -> None:
        for number in left:
            await store.append(
                uuid7(), events_of(number), expected=0, command_id=uuid7(), digest="bench"
            )

    await asyncio.gather(*(write() for _ in range(WRITERS)))


async def long_one(store: PostgresStore) -> UUID:
    """Append one incident of 1,000 events; return its id."""
    key, events = uuid7(), events_of(0)
    note = events[-1]
    assert isinstance(note, e.NoteAdded)
    events += [replace(note, note_id=uuid7(), text=f"note {n}") for n in range(980)]
    await store.append(key, events, expected=0, command_id=uuid7(), digest="bench")
    return key


async def percentiles(ask: Callable[[int], Awaitable[object]], times: int = 100) -> str:
    """Return p50, p95 and the most of *times* calls, in milliseconds."""
    took = []
    for n in range(times):
        began = time.perf_counter()
        await ask(n)
        took.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(took, n=100)
    return f"p50 {cuts[49]:7.1f} ms   p95 {cuts[94]:7.1f} ms   most {max(took):7.1f} ms"


@pytest.mark.timeout(3600)
async def test_views(world: World) -> None:
    engine = world.engine("cases")
    store = PostgresStore(engine, 1000)
    began = time.perf_counter()
    await fill(store)
    long = await long_one(store)
    seconds = time.perf_counter() - began
    total = INCIDENTS * 20 + 1000
    print(f"\n{INCIDENTS} incidents, {total} events appended in {seconds:.0f} s")
    projector = Projector(engine)
    while await projector.once():
        pass
    began = time.perf_counter()
    rebuilt = await projector.rebuild()
    seconds = time.perf_counter() - began
    assert (rebuilt.events, rebuilt.differing) == (total, [])
    print(f"rebuild, both hashes included: {rebuilt.events / seconds:,.0f} events/s")

    async with world.running(create_app(world.settings(Settings))) as client:
        people = People(world, client)
        headers = people.bearer("anna")
        page = (await client.get("/v1/incidents", headers=headers)).json()["items"]
        some = [row["incident_id"] for row in page]

        async def get(path: str, **asked: object) -> None:
            answer = await client.get(path, params={k: str(v) for k, v in asked.items()},
                                      headers=headers)  # fmt: skip
            assert answer.status_code == 200, answer.text

        now = datetime.now(UTC).isoformat()
        rows: dict[str, Callable[[int], Awaitable[None]]] = {
            "queue, first page": lambda _: get("/v1/incidents"),
            "queue, by service": lambda n: get("/v1/incidents", service=f"svc-{n % 50}"),
            "counts": lambda _: get("/v1/counts"),
            "search, common word": lambda n: get("/v1/incidents", q=WORDS[n % 8]),
            "search, two words": lambda n: get("/v1/incidents", q=f"{WORDS[n % 8]} svc-{n % 50}"),
            "search, one incident": lambda n: get("/v1/incidents", q=f"host-{n % INCIDENTS:06d}"),
            "search, nothing": lambda n: get("/v1/incidents", q=f"absent{n}"),
            "detail, 20 events": lambda n: get(f"/v1/incidents/{some[n % len(some)]}"),
            "detail, 1,000 events": lambda _: get(f"/v1/incidents/{long}"),
            "as_of, 1,000 events": lambda _: get(f"/v1/incidents/{long}", as_of=now),
            "seq 500 of 1,000": lambda _: get(f"/v1/incidents/{long}", seq=500),
            "timeline": lambda n: get(f"/v1/incidents/{some[n % len(some)]}/timeline"),
        }
        for name, ask in rows.items():
            print(f"{name:24} {await percentiles(ask)}")
