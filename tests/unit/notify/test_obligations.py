"""Who is owed what, and what stays undecided (I7)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.inventory import Clause, Contacts, Tenant
from services.notify.obligations import (
    AffectedParty,
    Facts,
    Obligation,
    ObligationState,
    OperatorProfile,
    identify,
    withdrawn,
)
from services.notify.regimes import parse_regimes, shipped_regimes
from services.notify.scope import Confidence
from shared.yaml_lines import LineError

pytestmark = pytest.mark.unit

AWARE = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)
DETECTED = datetime(2026, 3, 3, 8, 0, tzinfo=UTC)
FACTS = Facts(clocks={"aware": AWARE, "detected": DETECTED}, inputs={"privacy": "personal"})
CONTROLLER = OperatorProfile(
    capacities=frozenset({"controller", "processor"}), data_subject_regions=frozenset({"EU"})
)
CONTOSO = Tenant(
    name="contoso",
    display_name="Contoso",
    region="EU",
    contacts=Contacts(emails=("a@x.example",)),
    clauses=(Clause(id="14.2", hours=48, clock="aware"),),
)


def party(tenant: Tenant = CONTOSO, confidence: Confidence = Confidence.PROBABLE) -> AffectedParty:
    return AffectedParty(tenant=tenant, confidence=confidence)


def owed(
    facts: Facts = FACTS,
    operator: OperatorProfile = CONTROLLER,
    *parties: AffectedParty,
) -> dict[str, Obligation]:
    return {o.regime: o for o in identify(facts, operator, parties, shipped_regimes())}


def test_one_gdpr_deadline_each_and_one_of_the_contract() -> None:
    found = owed(FACTS, CONTROLLER, party())
    authority, controller, contract = (
        found[name] for name in ("gdpr_33_1", "gdpr_33_2", "contract_sla")
    )
    assert (authority.recipient, authority.tenant) == ("lead_supervisory_authority", None)
    assert authority.due_at == AWARE + timedelta(hours=72)  # V01
    assert authority.latest_arguable == datetime(2026, 3, 6, 10, tzinfo=UTC)
    assert (controller.recipient, controller.tenant) == ("tenant", "contoso")
    assert controller.internal_target
    assert controller.due_at == AWARE + timedelta(hours=24)
    assert (contract.phase, contract.due_at) == ("14.2", AWARE + timedelta(hours=48))
    assert {o.state for o in found.values()} == {ObligationState.TRIGGERED}


def test_v28_an_unknown_clock_leaves_it_undecided_with_a_flagged_provisional_due() -> None:
    facts = Facts(clocks={"detected": DETECTED}, inputs={"privacy": "personal"})
    authority = owed(facts)["gdpr_33_1"]
    assert authority.state is ObligationState.UNDECIDED
    assert authority.provisional
    assert (authority.clock, authority.due_at) == ("detected", DETECTED + timedelta(hours=72))
    assert authority.basis.startswith("provisional: detected instead of aware")


@pytest.mark.parametrize(
    ("privacy", "state"),
    [
        ("personal", "triggered"),
        ("special_category", "triggered"),
        ("pseudonymous", "triggered"),
        ("none", "not_required"),
        ("unknown", "undecided"),
        ("suspected", "undecided"),
        ("credentials", "undecided"),
        (None, "undecided"),
        (["odd"], "undecided"),
    ],
)
def test_what_is_not_known_of_privacy_is_undecided(privacy: object, state: str) -> None:
    facts = replace(FACTS, inputs={} if privacy is None else {"privacy": privacy})
    assert owed(facts)["gdpr_33_1"].state == state


@pytest.mark.parametrize(
    ("regions", "region", "state"),
    [
        (None, "EU", "triggered"),  # established there
        (None, "US", "undecided"),  # its data subjects may be anywhere
        (None, None, "undecided"),
        ({"US"}, "US", "not_required"),
        ({"US", "EU"}, "US", "triggered"),
    ],
)
def test_a_tenant_is_out_of_a_law_only_when_its_data_subjects_are_stated(
    regions: set[str] | None, region: str | None, state: str
) -> None:
    tenant = replace(
        CONTOSO, region=region, data_subject_regions=None if regions is None else frozenset(regions)
    )
    assert owed(FACTS, CONTROLLER, party(tenant))["gdpr_33_2"].state == state


def test_a_capacity_that_is_not_stated_is_undecided_one_not_held_is_not_required() -> None:
    unknown = OperatorProfile(data_subject_regions=frozenset({"EU"}))
    processor = replace(CONTROLLER, capacities=frozenset({"processor"}))
    assert owed(FACTS, unknown)["gdpr_33_1"].state == "undecided"
    assert owed(FACTS, processor)["gdpr_33_1"].state == "not_required"


def test_the_exception_has_to_be_established() -> None:
    unlikely = replace(FACTS, inputs={**FACTS.inputs, "risk_unlikely": True})
    assert owed(FACTS)["gdpr_33_1"].state == "triggered"
    assert owed(unlikely)["gdpr_33_1"].state == "not_required"


def test_a_tenant_that_is_only_possibly_affected_has_to_be_decided() -> None:
    found = owed(FACTS, CONTROLLER, party(confidence=Confidence.POSSIBLE))
    assert found["contract_sla"].state == "undecided"


def test_a_clause_on_a_clock_nobody_recorded_is_undecided() -> None:
    tenant = replace(CONTOSO, clauses=(Clause(id="1", hours=4, clock="declared"),))
    contract = owed(FACTS, CONTROLLER, party(tenant))["contract_sla"]
    assert (contract.state, contract.clock) == ("undecided", "detected")


def test_what_was_triggered_does_not_go_away_by_itself() -> None:
    triggered = owed(FACTS, CONTROLLER, party())["contract_sla"]
    again = withdrawn(triggered, "not on the list")
    assert again.state == "undecided"
    assert withdrawn(again, "not on the list") == again


@given(
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2020, 1, 1)),  # noqa: DTZ001 - hypothesis wants it so
    st.sampled_from(["none", "personal", "unknown", "credentials"]),
    st.integers(1, 500),
    st.sampled_from(list(Confidence)),
)
def test_due_is_after_its_clock_and_identifying_is_idempotent(
    aware: datetime, privacy: str, hours: int, confidence: Confidence
) -> None:
    aware = min(aware, datetime(2100, 1, 1, tzinfo=UTC))
    facts = Facts(clocks={"aware": aware}, inputs={"privacy": privacy})
    tenant = replace(CONTOSO, clauses=(Clause(id="1", hours=hours, clock="aware"),))
    parties = [party(tenant, confidence)]
    first = identify(facts, CONTROLLER, parties, shipped_regimes())
    assert first == identify(facts, CONTROLLER, parties, shipped_regimes())
    assert len(first) == 3  # no regime is silently absent (I7)
    for obligation in first:
        assert obligation.due_at >= obligation.clock_at
        assert obligation.basis


@pytest.mark.parametrize(
    "row",
    [
        "{id: x}",
        "{id: x, version: '1', duty: nobody, recipient: r, source: s}",
        "{id: x, version: '1', duty: operator, recipient: r, source: s, clock: aware}",
        "{id: x, version: '1', duty: operator, recipient: r, source: s, clock: aware, phase: p,"
        " rule: {weeks: 1}}",
        "{id: x, version: '1', duty: operator, recipient: r, source: s, clock: aware, phase: p,"
        " rule: {elapsed_hours: 1}, trigger: {data: health}}",
    ],
)
def test_a_regime_that_is_not_understood_is_refused(row: str) -> None:
    with pytest.raises(LineError):
        parse_regimes(f"regimes: [{row}]")


def test_only_enabled_regimes_count() -> None:
    row = "{id: x, version: '1', duty: clause, recipient: r, source: s, enabled: false}"
    assert parse_regimes(f"regimes: [{row}]") == ()
