"""The time between any two events: what SQL answers is what a fold of the events comes to."""

import statistics
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.cases.domain import events as e
from services.cases.domain.vocabulary import State
from services.cases.postgres import PostgresStore
from shared.ids import uuid7
from tests.integration.cases.conversation import People
from tests.support.golden_events import one_of_each
from tests.support.incidents import NOW, SR, story
from tests.support.waiting import until

pytestmark = pytest.mark.integration
MINUTE = timedelta(minutes=1)


async def put(people: People, key: UUID, events: list[e.Event]) -> None:
    store = PostgresStore(people.world.engine("cases"), people.world.vault)
    position = (
        await store.append(key, events, expected=0, command_id=uuid7(), digest="d")
    ).last_position

    async def there() -> bool:
        answer = await people.get("anna", "/v1/snapshot", limit=1)
        return answer.status_code == 200 and answer.json()["position"] >= position

    await until(there)


def timed(service: str, minutes: float, until_state: State = State.CONFIRMED) -> list[e.Event]:
    """Return an incident of *service* whose verdict came *minutes* after it was opened."""
    events = []
    for event in story(until_state):
        if isinstance(event, e.IncidentOpened):
            event = replace(event, services=(service,))
        if isinstance(event, e.IncidentConfirmed):
            event = replace(event, at=NOW + minutes * MINUTE)
        events.append(event)
    return events


async def measured(people: People, who: str, path: str, **asked: Any) -> list[dict[str, Any]]:
    answer = await people.get(who, f"/v1/measures/{path}", **asked)
    assert answer.status_code == 200, answer.text
    groups: list[dict[str, Any]] = answer.json()["groups"]
    return groups


async def test_groups_percentiles_and_what_is_not_there_yet(people: People) -> None:
    took = {"alpha": [1.0, 2.0, 4.0, 8.0, 90.0], "beta": [10.0, 30.0]}
    for service, minutes in took.items():
        for each in minutes:
            await put(people, uuid7(), timed(service, each))
    await put(people, uuid7(), timed("beta", 0, State.INVESTIGATING))  # no verdict yet
    groups = await measured(
        people, "mia", "between", **{"from": "IncidentOpened", "to": "IncidentConfirmed"},
        by="service", percentile=[50, 90],
    )  # fmt: skip
    found = {group["group"]["service"]: group for group in groups}
    for service, minutes in took.items():
        seconds = [each * 60 for each in minutes]
        group = found[service]
        assert group["measured"] == len(minutes)
        assert group["not_yet"] == (service == "beta")
        told = group["seconds"]
        assert told["percentiles"]["p50"] == pytest.approx(statistics.median(seconds))
        cut = statistics.quantiles(seconds, n=10, method="inclusive")[8]
        assert told["percentiles"]["p90"] == pytest.approx(cut)
        assert (told["least"], told["most"]) == (min(seconds), max(seconds))
        assert told["mean"] == pytest.approx(statistics.fmean(seconds))
    verdicts = await measured(people, "mia", "ttv", service="alpha")
    assert [(g["group"], g["measured"]) for g in verdicts] == [({}, 5)]
    by_two = await measured(people, "mia", "ttv", by=["service", "severity"], service="alpha")
    assert [g["group"] for g in by_two] == [{"service": "alpha", "severity": "SEV2"}]
    for name in ("region", "priority", "state", "source_kind", "owning_team", "attack_vector",
                 "month", "week", "weekday"):  # fmt: skip
        groups = await measured(people, "mia", "ttv", by=name, service="alpha")
        assert sum(g["measured"] for g in groups) >= 5, name


async def test_time_bounds_hold_for_the_instant_measured_from(people: People) -> None:
    await put(people, uuid7(), timed("gamma", 3))
    inside = {"since": (NOW - MINUTE).isoformat(), "until": (NOW + MINUTE).isoformat()}
    outside = {"since": (NOW + MINUTE).isoformat()}
    assert (await measured(people, "mia", "ttv", service="gamma", **inside))[0]["began"] == 1
    assert (await measured(people, "mia", "ttv", service="gamma", **outside))[0]["began"] == 0


async def test_last_and_first_of_several_and_clocks_at_their_newest_reading(
    people: People,
) -> None:
    each = one_of_each()
    recorded, corrected = each["ClockRecorded.v1"], each["ClockCorrected.v1"]
    confirmed = timed("delta", 5)
    events = [
        *confirmed,
        replace(recorded, at=NOW),  # occurred an hour before
        replace(corrected, at=NOW),  # detected nine minutes before
        replace(each["IncidentContained.v1"], at=NOW + 10 * MINUTE),
        replace(each["ContainmentLost.v1"], at=NOW + 20 * MINUTE),
        replace(each["IncidentContained.v1"], at=NOW + 50 * MINUTE),
    ]
    await put(people, uuid7(), events)
    assert isinstance(recorded, e.ClockRecorded)
    assert isinstance(corrected, e.ClockCorrected)

    async def median(path: str, **asked: Any) -> float:
        groups = await measured(people, "mia", path, service="delta", percentile=50, **asked)
        return float(groups[0]["seconds"]["percentiles"]["p50"])

    expected = (corrected.instant - recorded.instant).total_seconds()
    assert await median("ttd") == expected == 51 * 60
    assert await median("ttc") == (NOW + 50 * MINUTE - corrected.instant).total_seconds()
    pair = {"from": "IncidentConfirmed", "to": "IncidentContained"}
    assert await median("between", **pair) == 5 * 60
    assert await median("between", **pair, to_pick="last") == 45 * 60
    again = {"from": "ContainmentLost", "to": "IncidentContained"}
    assert await median("between", **again) == 30 * 60  # the first one after it was lost


async def test_a_fact_of_another_service_is_an_anchor(people: People) -> None:
    paged = one_of_each()["FactRecorded.v1"]
    assert isinstance(paged, e.FactRecorded)
    events = [*timed("epsilon", 5), replace(paged, at=NOW + 7 * MINUTE)]
    await put(people, uuid7(), events)
    pair = {"from": "IncidentOpened", "to": f"fact:{paged.kind}"}
    groups = await measured(people, "mia", "between", service="epsilon", **pair)
    assert groups[0]["seconds"]["least"] == 7 * 60
    none = {"from": "IncidentOpened", "to": "fact:notification_sent"}
    assert (await measured(people, "mia", "between", service="epsilon", **none))[0]["not_yet"] == 1


async def test_restricted_incidents_are_left_out(people: People) -> None:
    key = uuid7()
    restricted = e.AccessRestricted(actor=SR, at=NOW, reason="an insider is involved")
    await put(people, key, [*timed("zeta", 5), restricted])
    assert (await measured(people, "mia", "ttv", service="zeta"))[0]["began"] == 0
    assert (await measured(people, "rita", "ttv", service="zeta"))[0]["began"] == 1
    assert (await measured(people, "anna", "ttv", service="zeta"))[0]["began"] == 1


async def test_every_named_measure_answers_and_what_is_unknown_is_refused(people: People) -> None:
    listed = (await people.get("mia", "/v1/measures")).json()["items"]
    for row in listed:
        await measured(people, "mia", row["measure"], by=["month", "severity"])
    assert (await people.get("mia", "/v1/measures/mttx")).status_code == 404
    for asked in (
        {"from": "IncidentOpened", "to": "Nothing"},
        {"from": "clock:never", "to": "IncidentClosed"},
        {"from": "fact:unheard", "to": "IncidentClosed"},
        {"from": "IncidentOpened"},
        {"from": "IncidentOpened", "to": "IncidentClosed", "by": "shoe_size"},
        {"from": "IncidentOpened", "to": "IncidentClosed", "by": ["service", "service"]},
        {"from": "IncidentOpened", "to": "IncidentClosed", "percentile": 101},
        {"from": "IncidentOpened", "to": "IncidentClosed", "since": "2026-01-01T00:00:00"},
    ):
        answer = await people.get("mia", "/v1/measures/between", **asked)
        assert answer.status_code == 422, asked
    assert (await people.get("otto", "/v1/measures/ttd")).status_code == 403
