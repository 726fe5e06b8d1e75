"""The worked vectors A1–A10 of §5, and what must hold for every inventory and scope."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.inventory import Inventory, Server
from services.notify.inventory_file import parse
from services.notify.scope import Confidence, Resolution, ScopeError, resolve
from shared.contracts.cases import Scope, ScopeSelector

pytestmark = pytest.mark.unit

WORKED = parse(
    """
regions:
  - {name: eu-west, datacenters: [dub1, dub2]}
  - {name: us-east, datacenters: [iad1]}
services:
  - name: mail
    depends_on: [id]
    farms:
      - {name: mail-f1, datacenter: dub1, servers: [m1, m2]}
      - {name: mail-f2, datacenter: iad1, servers: [m3]}
  - name: id
    farms:
      - {name: id-f1, datacenter: dub1, servers: [i1]}
      - {name: id-f2, datacenter: dub2, servers: [i2]}
tenants:
  - {name: T1, contacts: {email: t1@x.example}}
  - {name: T2, contacts: {email: t2@x.example}}
  - {name: T3, contacts: {email: t3@x.example}}
  - {name: T4, contacts: {email: t4@x.example}}
  - {name: T5, contacts: {email: t5@x.example}}
placements:
  - {tenant: T1, server: m1}
  - {tenant: T2, server: m2, to: 2026-05-10T00:00:00Z}
  - {tenant: T2, server: m3, from: 2026-05-10T00:00:00Z}
  - {tenant: T3, server: m3}
  - {tenant: T4, server: m1, role: replica}
  - {tenant: T4, server: i1, data: [credentials]}
  - {tenant: T5, server: i2}
"""
)
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)


def may(day: int) -> datetime:
    return datetime(2026, 5, day, tzinfo=UTC)


def scope(first: int | None, last: int | None, *include: dict[str, str], **rest: object) -> Scope:
    return Scope.model_validate(
        {
            "include": include,
            "window_from": first and may(first),
            "window_to": last and may(last),
            **rest,
        }
    )


def found(s: Scope, inventory: Inventory = WORKED) -> Resolution:
    return resolve(inventory, s, as_of=AS_OF)


def names(s: Scope) -> list[str]:
    return [tenant.tenant for tenant in found(s).tenants]


@pytest.mark.parametrize(
    ("vector", "selector", "first", "last", "tenants"),
    [
        ("A1", {"server": "m2"}, 1, 5, ["T2"]),
        ("A2", {"server": "m2"}, 10, 12, []),
        ("A3a", {"server": "m3"}, 9, 10, ["T3"]),
        ("A3b", {"server": "m3"}, 10, 11, ["T2", "T3"]),
        ("A4", {"server_farm": "mail-f1"}, 1, 20, ["T1", "T2", "T4"]),
        ("A6", {"datacenter": "dub1"}, 11, 12, ["T1", "T4"]),
        ("A8", {"region": "eu-west"}, 11, 12, ["T1", "T4", "T5"]),
    ],
)
def test_worked_vectors(
    vector: str, selector: dict[str, str], first: int, last: int, tenants: list[str]
) -> None:
    assert names(scope(first, last, selector)) == tenants, vector


@pytest.mark.parametrize("include", [[], [{}]])
def test_a10_nothing_is_never_everyone(include: list[dict[str, str]]) -> None:
    with pytest.raises(ScopeError):
        found(scope(1, 5, *include))


def test_an_exclude_without_a_level_would_remove_everyone() -> None:
    with pytest.raises(ScopeError):
        found(scope(1, 5, {"region": "eu-west"}, exclude=[{}]))


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ScopeError):
        found(scope(5, 5, {"region": "eu-west"}))


def test_levels_in_a_selector_are_and_selectors_are_or() -> None:
    both = {"service": "id", "datacenter": "dub2"}
    assert names(scope(11, 12, both)) == ["T5"]
    assert names(scope(11, 12, both, {"server": "m3"})) == ["T2", "T3", "T5"]


def test_excludes_subtract_servers_last() -> None:
    region = {"region": "eu-west"}
    assert names(scope(11, 12, region, exclude=[{"server": "m1"}])) == ["T4", "T5"]
    # also those that were reached through a dependency
    followed = scope(
        11, 12, {"server": "i1"}, exclude=[{"server": "m3"}], follow_dependencies="direct"
    )
    assert names(followed) == ["T1", "T4"]


def test_an_exclude_that_names_a_tenant_leaves_its_neighbours() -> None:
    assert names(scope(11, 12, {"server": "m1"}, exclude=[{"tenant": "T4"}])) == ["T1"]


def test_dependants_are_only_possible() -> None:
    result = found(scope(11, 12, {"service": "id"}, follow_dependencies="transitive"))
    confidences = {t.tenant: t.confidence.value for t in result.tenants}
    assert confidences == {
        "T1": "possible",
        "T2": "possible",
        "T3": "possible",
        "T4": "probable",  # it is on i1 itself, too
        "T5": "probable",
    }
    assert result.tenants[0].matches[0].reason == "mail depends on id, which is in the scope"


def test_direct_is_one_step_transitive_the_closure() -> None:
    chain = parse(
        """
regions: [{name: r, datacenters: [d]}]
services:
  - {name: a, farms: [{name: fa, datacenter: d, servers: [sa]}]}
  - {name: b, depends_on: [a], farms: [{name: fb, datacenter: d, servers: [sb]}]}
  - {name: c, depends_on: [b, a2], farms: [{name: fc, datacenter: d, servers: [sc]}]}
  - {name: a2, depends_on: [c]}
tenants:
  - {name: TA, contacts: {email: a@x.example}}
  - {name: TB, contacts: {email: b@x.example}}
  - {name: TC, contacts: {email: c@x.example}}
placements: [{tenant: TA, server: sa}, {tenant: TB, server: sb}, {tenant: TC, server: sc}]
"""
    )

    def reached(follow: str) -> list[str]:
        s = scope(1, 2, {"service": "a"}, follow_dependencies=follow)
        return [t.tenant for t in found(s, chain).tenants]

    assert reached("none") == ["TA"]
    assert reached("direct") == ["TA", "TB"]
    assert reached("transitive") == ["TA", "TB", "TC"]  # and the circle c → a2 → c ends


def test_naming_a_tenant_confirms_it_and_drags_nobody_along() -> None:
    result = found(scope(11, 12, {"tenant": "T4"}))
    assert [(t.tenant, t.confidence) for t in result.tenants] == [("T4", Confidence.CONFIRMED)]
    assert result.servers == ("i1", "m1")


def test_roles_select_placements() -> None:
    s = scope(11, 12, {"server": "m1"})
    only = resolve(WORKED, s, as_of=AS_OF, roles=["primary"])
    assert [t.tenant for t in only.tenants] == ["T1"]


def test_the_explanation_names_placement_and_overlap() -> None:
    (t2,) = found(scope(1, 20, {"server": "m2"})).tenants
    (match,) = t2.matches
    assert (match.server.name, match.server.farm, match.server.region) == (
        "m2", "mail-f1", "eu-west",
    )  # fmt: skip
    assert (match.overlap_from, match.overlap_to) == (may(1), may(10))


def test_an_unknown_start_makes_possible_only_what_hangs_on_it() -> None:
    result = found(scope(None, 20, {"server_farm": "mail-f1"}))
    confidences = {t.tenant: t.confidence.value for t in result.tenants}
    assert confidences == {"T1": "probable", "T2": "possible", "T4": "probable"}
    assert "The start of the window is not known" in result.warnings[0]


def test_an_open_end_reaches_to_the_moment_the_scope_was_set() -> None:
    s = scope(9, None, {"server": "m3"})
    assert [t.tenant for t in resolve(WORKED, s, as_of=may(9)).tenants] == ["T3"]
    assert [t.tenant for t in resolve(WORKED, s, as_of=may(10)).tenants] == ["T2", "T3"]


def test_names_that_the_inventory_does_not_know_are_told() -> None:
    result = found(scope(1, 2, {"server": "m9"}, {"region": "us-east", "datacenter": "dub1"}))
    assert result.tenants == ()
    assert "The inventory knows no server 'm9'." in result.warnings
    assert any("No server fits" in warning for warning in result.warnings)


LEVELS = {
    "region": sorted(WORKED.regions),
    "datacenter": sorted(WORKED.datacenters),
    "service": sorted(WORKED.services),
    "server_farm": sorted(WORKED.farms),
    "server": sorted(WORKED.servers),
    "tenant": sorted(WORKED.tenants),
}
selectors = (
    st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in LEVELS.items()})
    .filter(bool)
    .map(ScopeSelector.model_validate)
)
windows = st.tuples(st.integers(1, 28), st.integers(1, 28)).filter(lambda w: w[0] < w[1])
scopes = st.builds(
    lambda include, exclude, window, follow: Scope(
        include=include,
        exclude=exclude,
        window_from=may(window[0]),
        window_to=may(window[1]),
        follow_dependencies=follow,
    ),
    st.lists(selectors, min_size=1, max_size=4),
    st.lists(selectors, max_size=2),
    windows,
    st.sampled_from(["none", "direct", "transitive"]),
)


def affected(s: Scope) -> set[str]:
    return set(names(s))


@given(scopes, selectors)
def test_adding_a_selector_never_removes_a_tenant(s: Scope, more: ScopeSelector) -> None:
    assert affected(s) <= affected(s.model_copy(update={"include": [*s.include, more]}))


@given(scopes, selectors)
def test_adding_an_exclude_never_adds_a_tenant(s: Scope, more: ScopeSelector) -> None:
    assert affected(s.model_copy(update={"exclude": [*s.exclude, more]})) <= affected(s)


@given(scopes, st.integers(0, 20), st.integers(0, 20))
def test_widening_the_window_never_removes_a_tenant(s: Scope, before: int, after: int) -> None:
    assert s.window_from is not None
    assert s.window_to is not None
    wider = s.model_copy(
        update={
            "window_from": s.window_from - timedelta(days=before),
            "window_to": s.window_to + timedelta(days=after),
        }
    )
    assert affected(s) <= affected(wider)
    assert affected(wider) <= affected(wider.model_copy(update={"window_from": None}))


@given(scopes)
def test_following_further_never_removes_a_tenant(s: Scope) -> None:
    none, direct, transitive = (
        affected(s.model_copy(update={"follow_dependencies": follow}))
        for follow in ("none", "direct", "transitive")
    )
    assert none <= direct <= transitive


@given(scopes)
def test_every_overlap_lies_in_the_window_and_in_the_placement(s: Scope) -> None:
    for tenant in found(s).tenants:
        assert tenant.matches
        for match in tenant.matches:
            assert match.overlap_from is not None
            assert match.overlap_to is not None
            assert s.window_from is not None
            assert s.window_to is not None
            assert s.window_from <= match.overlap_from < match.overlap_to <= s.window_to
            assert match.placement.tenant == tenant.tenant


@given(scopes)
def test_resolving_twice_is_resolving_once(s: Scope) -> None:
    assert found(s) == found(s)


def plainly(s: Scope) -> set[str]:
    """Return the tenants as §5 says it, placement by placement, without columns or shortcuts."""
    every = list(WORKED.servers.values())

    def fits(x: ScopeSelector, server: Server) -> bool:
        levels = {
            "region": server.region, "datacenter": server.datacenter, "service": server.service,
            "server_farm": server.farm, "server": server.name,
        }  # fmt: skip
        return all(getattr(x, level) in (None, name) for level, name in levels.items())

    assert s.window_from is not None
    assert s.window_to is not None
    open_ = [
        p
        for server in WORKED.placements
        for p in WORKED.placements[server]
        if (p.valid_from is None or p.valid_from < s.window_to)
        and (p.valid_to is None or s.window_from < p.valid_to)
    ]
    direct = {
        server.name
        for x in s.include
        for server in every
        if fits(x, server)
        and (
            x.tenant is None or any(p.server == server.name and p.tenant == x.tenant for p in open_)
        )
    }
    services = {WORKED.servers[name].service for name in direct}
    via = set()
    if s.follow_dependencies != "none" and "id" in services:
        via = {"mail"}  # the only dependency of the worked inventory; nothing depends on mail
    kept = direct | {server.name for server in every if server.service in via}
    kept -= {v.name for x in s.exclude if x.tenant is None for v in every if fits(x, v)}
    return {
        p.tenant
        for p in open_
        if p.server in kept
        and not any(x.tenant == p.tenant and fits(x, WORKED.servers[p.server]) for x in s.exclude)
        and (
            WORKED.servers[p.server].service in via
            or any(
                x.tenant in (None, p.tenant) and fits(x, WORKED.servers[p.server])
                for x in s.include
            )
        )
    }


@given(scopes)
def test_the_columns_say_what_the_plain_reading_says(s: Scope) -> None:
    assert affected(s) == plainly(s)
