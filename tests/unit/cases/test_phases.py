"""Completeness is worked out once a version, and what is remembered of it is bounded."""

from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import pytest

from services.cases import phases
from services.cases.case_policy import SHIPPED, completeness, load
from services.cases.domain.incident import fold
from services.cases.phases import Phases
from services.cases.store import EventStore, History
from shared.ids import uuid7
from tests.support.incidents import story

pytestmark = pytest.mark.unit


@dataclass
class Log:
    """Stands for the store: tells one story of every incident, as far as it has come."""

    version: int = 3
    asked: list[UUID] = field(default_factory=list)

    async def read(self, stream_id: UUID) -> History:
        self.asked.append(stream_id)
        return History(tuple(story()[: self.version]), self.version)


def of(log: Log) -> Phases:
    return Phases(load(SHIPPED), cast(EventStore, cast(Any, log)))


async def test_it_is_asked_once_a_version() -> None:
    log, one = Log(), uuid7()
    known = of(log)
    first = await known.of(one, 3)
    assert first == completeness(load(SHIPPED), fold(story()[:3]))
    assert await known.of(one, 3) == first
    assert log.asked == [one]
    log.version = len(story())
    later = await known.of(one, log.version)
    assert later == completeness(load(SHIPPED), fold(story()))
    assert log.asked == [one, one]


async def test_a_view_that_lags_is_answered_from_the_log_and_not_remembered_as_older() -> None:
    log, one = Log(version=4), uuid7()
    known = of(log)
    assert await known.of(one, 2) == await known.of(one, 4)
    await known.of(one, 2)
    assert len(log.asked) == 2


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "REMEMBERED", 2)
    log, ids = Log(), [uuid7() for _ in range(3)]
    known = of(log)
    for key in (*ids, ids[2], ids[0]):
        await known.of(key, 3)
    assert log.asked == [*ids, ids[0]]
