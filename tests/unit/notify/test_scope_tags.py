"""Tags as selectors: of servers from all their levels, of tenants, of placements (§5, R35a)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.inventory import Server
from services.notify.inventory_file import parse
from services.notify.placements import Placement
from services.notify.scope import Confidence, ScopeError, resolve
from shared.contracts.cases import Scope, ScopeSelector
from tests.unit.notify.test_scope import AS_OF, may

pytestmark = pytest.mark.unit

TAGGED = parse(
    """
regions:
  - {name: eu-west, labels: {geo: europe, env: prod}, datacenters: [{name: dub1}, dub2]}
  - {name: us-east, datacenters: [{name: iad1, tags: {geo: america}}]}
services:
  - name: mail
    labels: {team: post}
    depends_on: [id]
    farms:
      - name: mail-f1
        datacenter: dub1
        tags: [{Key: env, Value: test}]
        servers: [{name: m1, labels: {os/version: "9"}}, m2]
      - {name: mail-f2, datacenter: iad1, servers: [{name: m3, labels: {env: prod}}]}
  - name: id
    farms:
      - {name: id-f1, datacenter: dub1, servers: [i1]}
      - {name: id-f2, datacenter: dub2, servers: [i2]}
tenants:
  - {name: T1, contacts: {email: t1@x.example}, labels: {plan: gold}}
  - {name: T2, contacts: {email: t2@x.example}}
  - {name: T3, contacts: {email: t3@x.example}, labels: {plan: gold, geo: mars}}
  - {name: T4, contacts: {email: t4@x.example}}
  - {name: T5, contacts: {email: t5@x.example}}
placements:
  - {tenant: T1, server: m1}
  - {tenant: T2, server: m2, to: 2026-05-10T00:00:00Z, labels: {subscription: s-2}}
  - {tenant: T2, server: m3, from: 2026-05-10T00:00:00Z, labels: {subscription: s-2}}
  - {tenant: T3, server: m3}
  - {tenant: T4, server: m1, role: replica, tags: {subscription: s-4, plan: gold}}
  - {tenant: T4, server: i1}
  - {tenant: T5, server: i2}
"""
)


def scope(*include: dict[str, Any], first: int = 11, last: int = 12, **rest: Any) -> Scope:
    return Scope.model_validate(
        {"include": include, "window_from": may(first), "window_to": may(last), **rest}
    )


def found(s: Scope) -> dict[str, str]:
    resolved = resolve(TAGGED, s, as_of=AS_OF)
    return {t.tenant: t.confidence.value for t in resolved.tenants}


@pytest.mark.parametrize(
    ("include", "tenants"),
    [
        ([{"tags": {"geo": "europe"}}], ["T1", "T4", "T5"]),
        ([{"tags": {"env": "test"}}], ["T1", "T4"]),  # the farm says otherwise than its region
        ([{"tags": {"env": "prod"}}], ["T2", "T3", "T4", "T5"]),  # of m3 itself, i1 and i2
        ([{"tags": {"env": "prod"}, "region": "eu-west"}], ["T4", "T5"]),  # AND inside
        ([{"tags": {"env": "prod", "team": "post"}}], ["T2", "T3"]),
        ([{"tags": {"os/version": "9"}}, {"server": "i2"}], ["T1", "T4", "T5"]),  # OR between
        ([{"tags": {"geo": "america"}}], ["T2", "T3"]),
        ([{"tags": {"subscription": "s-2"}}], ["T2"]),  # not T3 beside it
        ([{"tags": {"plan": "gold"}}], ["T1", "T3", "T4"]),  # of tenants and of a placement
        ([{"tags": {"plan": "gold", "env": "test"}}], ["T1", "T4"]),  # from two places
        ([{"tags": {"plan": "gold"}, "tenant": "T4"}], ["T4"]),
        ([{"tags": {"plan": "lead"}}], []),
    ],
)
def test_tags_select(include: list[dict[str, Any]], tenants: list[str]) -> None:
    assert sorted(found(scope(*include))) == tenants


def test_the_window_is_half_open_for_tags_too() -> None:
    by_tag = {"tags": {"subscription": "s-2"}, "server": "m2"}
    assert list(found(scope(by_tag, first=9, last=10))) == ["T2"]
    assert list(found(scope(by_tag, first=10, last=12))) == []


def test_excluded_tags_subtract_servers_or_only_who_wears_them() -> None:
    everywhere = [{"region": "eu-west"}, {"region": "us-east"}]
    assert sorted(found(scope(*everywhere, exclude=[{"tags": {"env": "test"}}]))) == [
        "T2", "T3", "T4", "T5",
    ]  # fmt: skip
    spared = scope(*everywhere, exclude=[{"tags": {"plan": "gold"}}])
    assert sorted(found(spared)) == ["T2", "T4", "T5"]  # T4 stays by i1


def test_dependants_of_tagged_servers_are_possible() -> None:
    s = scope({"tags": {"env": "prod"}, "service": "id"}, follow_dependencies="direct")
    assert found(s) == {
        "T1": "possible", "T2": "possible", "T3": "possible", "T4": "probable", "T5": "probable",
    }  # fmt: skip


def test_only_a_name_confirms() -> None:
    assert found(scope({"tags": {"plan": "gold"}, "tenant": "T1"})) == {"T1": "confirmed"}
    assert found(scope({"tags": {"plan": "gold"}, "server": "m3"})) == {"T3": "probable"}


def test_the_explanation_names_the_tags() -> None:
    (t2,) = resolve(TAGGED, scope({"tags": {"subscription": "s-2"}}), as_of=AS_OF).tenants
    assert t2.confidence is Confidence.PROBABLE
    (match,) = t2.matches
    assert (
        match.reason == "placed on m3, and wears the tags subscription=s-2 that the scope asks for"
    )


def test_tags_that_nothing_wears_are_told() -> None:
    resolved = resolve(TAGGED, scope({"tags": {"env": "prd"}}), as_of=AS_OF)
    assert "Nothing wears the tag env=prd." in resolved.warnings
    assert resolve(TAGGED, scope({"tags": {"env": "prod"}}), as_of=AS_OF).warnings == ()


def test_no_tags_are_no_selector() -> None:
    with pytest.raises(ScopeError):
        found(scope({"tags": {}}))


PAIRS = [("env", "prod"), ("env", "test"), ("geo", "europe"), ("plan", "gold"), ("team", "post"),
         ("subscription", "s-2"), ("subscription", "s-4")]  # fmt: skip
LEVELS: dict[str, list[Any]] = {
    "region": ["eu-west", "us-east"],
    "service": ["id", "mail"],
    "server": sorted(TAGGED.servers),
    "tenant": ["T1", "T2", "T3", "T4"],
    "tags": [dict([pair]) for pair in PAIRS] + [{"env": "prod", "plan": "gold"}],
}
selectors = (
    st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in LEVELS.items()})
    .filter(bool)
    .map(ScopeSelector.model_validate)
)


def plainly(include: list[ScopeSelector], exclude: list[ScopeSelector]) -> set[str]:
    """Return the tenants as §5 says it, placement by placement."""

    def asks(x: ScopeSelector, server: Server) -> set[tuple[str, str]] | None:
        levels = {"region": server.region, "service": server.service, "server": server.name}
        if any(getattr(x, level) not in (None, name) for level, name in levels.items()):
            return None
        return set((x.tags or {}).items()) - server.tags

    def means(x: ScopeSelector, p: Placement) -> bool:
        tags = asks(x, TAGGED.servers[p.server])
        own = {*p.tags, *TAGGED.entries["tenants"][p.tenant].tags}
        return tags is not None and x.tenant in (None, p.tenant) and tags <= own

    whole = {
        name
        for name, server in TAGGED.servers.items()
        if any(x.tenant is None and asks(x, server) == set() for x in exclude)
    }
    return {
        p.tenant
        for server in TAGGED.placements.keys() - whole
        for p in TAGGED.placements[server]
        if (p.valid_to is None or p.valid_to > may(11))
        and any(means(x, p) for x in include)
        and not any(means(x, p) for x in exclude)
    }


@given(st.lists(selectors, min_size=1, max_size=3), st.lists(selectors, max_size=2))
def test_tags_say_what_the_plain_reading_says(
    include: list[ScopeSelector], exclude: list[ScopeSelector]
) -> None:
    s = Scope(include=include, exclude=exclude, window_from=may(11), window_to=may(12))
    assert found(s).keys() == plainly(include, exclude)
