"""Who is owed what, and what stays undecided (I7)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.inventory import Clause, Contacts, Tenant
from services.notify.obligations.deadlines import ElapsedHours
from services.notify.obligations.identify import (
    AffectedParty,
    IncidentFacts,
    Key,
    Obligation,
    ObligationState,
    OperatorProfile,
    identify,
    withdrawn,
)
from services.notify.obligations.regime_file import shipped_regimes
from services.notify.scope import Confidence

pytestmark = pytest.mark.unit

AWARE = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)
DETECTED = datetime(2026, 3, 3, 8, 0, tzinfo=UTC)
FACTS = IncidentFacts(clocks={"aware": AWARE, "detected": DETECTED}, inputs={"privacy": "personal"})
CONTROLLER = OperatorProfile(
    capacities=frozenset({"controller", "processor"}), data_subject_regions=frozenset({"EU"})
)
CONTOSO = Tenant(
    name="contoso",
    display_name="Contoso",
    region="EU",
    contacts=Contacts(emails=("a@x.example",)),
    clauses=(),
)


def clause(name: str, hours: int, clock: str = "aware") -> Clause:
    return Clause(id=name, clock=clock, terms=f"{hours} h", rule=ElapsedHours(hours))


CONTOSO = replace(CONTOSO, clauses=(clause("14.2", 48),))


def party(tenant: Tenant = CONTOSO, confidence: Confidence = Confidence.PROBABLE) -> AffectedParty:
    return AffectedParty(tenant=tenant, confidence=confidence)


def owed(
    facts: IncidentFacts = FACTS,
    operator: OperatorProfile = CONTROLLER,
    *parties: AffectedParty,
) -> dict[str, Obligation]:
    """The first phase of each regime that comes into question."""
    found: dict[str, Obligation] = {}
    for obligation in identify(facts, operator, parties, shipped_regimes(), _all_of(parties)):
        found.setdefault(obligation.regime, obligation)
    return found


def _all_of(parties: tuple[AffectedParty, ...]) -> set[Key]:
    return {
        (row.id, phase.id, recipient, party.tenant.name)
        for row in shipped_regimes().rows
        for phase in row.phases
        for recipient in phase.recipients
        for party in parties
    }


def test_what_never_applied_to_a_tenant_is_not_listed_for_it() -> None:
    outside = replace(CONTOSO, region="US", data_subject_regions=frozenset({"US"}))
    towards = [
        o for o in identify(FACTS, CONTROLLER, [party(outside)], shipped_regimes()) if o.tenant
    ]
    assert {o.regime for o in towards} == {"contract_sla"}


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
    assert {authority.state, controller.state, contract.state} == {ObligationState.TRIGGERED}
    assert found["dora_19"].state == "not_required"  # the operator is no financial entity


def test_v28_an_unknown_clock_leaves_it_undecided_with_a_flagged_provisional_due() -> None:
    facts = IncidentFacts(clocks={"detected": DETECTED}, inputs={"privacy": "personal"})
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
    tenant = replace(CONTOSO, clauses=(clause("1", 4, "declared"),))
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
    facts = IncidentFacts(clocks={"aware": aware}, inputs={"privacy": privacy})
    tenant = replace(CONTOSO, clauses=(clause("1", hours),))
    parties = (party(tenant, confidence),)
    known = _all_of(parties)
    first = list(identify(facts, CONTROLLER, parties, shipped_regimes(), known))
    assert first == list(identify(facts, CONTROLLER, parties, shipped_regimes(), known))
    in_force = {row.id for row in shipped_regimes().enabled if row.covers(aware)}
    assert {o.regime for o in first} == in_force  # no regime is silently absent (I7)
    for obligation in first:
        assert obligation.due_at >= obligation.clock_at
        assert obligation.basis


def test_a_customers_own_duty_starts_when_we_tell_it() -> None:
    controller = replace(CONTOSO, capacities=frozenset({"controller"}))
    told = AWARE + timedelta(hours=20)
    before = [o for o in _customers(controller, None) if o.regime == "gdpr_33_1"]
    after = [o for o in _customers(controller, told) if o.regime == "gdpr_33_1"]
    assert before[0].state == "undecided"  # nobody has told it yet
    assert (after[0].state, after[0].due_at) == ("triggered", told + timedelta(hours=72))
    assert after[0].holder == "customer"


def _customers(tenant: Tenant, told_at: datetime | None) -> list[Obligation]:
    told = AffectedParty(tenant=tenant, confidence=Confidence.PROBABLE, told_at=told_at)
    found = identify(FACTS, CONTROLLER, [told], shipped_regimes())
    return [o for o in found if o.tenant and o.holder == "customer"]


def test_v29_a_clock_corrected_earlier_makes_it_overdue_at_once() -> None:
    corrected = replace(
        FACTS, clocks={**FACTS.clocks, "aware": datetime(2026, 3, 2, 20, tzinfo=UTC)}
    )
    assert owed(FACTS)["gdpr_33_1"].due_at == datetime(2026, 3, 6, 9, 20, tzinfo=UTC)
    assert owed(corrected)["gdpr_33_1"].due_at == datetime(2026, 3, 5, 20, tzinfo=UTC)


def test_a_phase_runs_from_the_actual_submission_of_the_one_before() -> None:
    bank = OperatorProfile(
        capacities=frozenset({"financial_entity"}),
        established_in=frozenset({"DE"}),
        entity_classes=frozenset({"credit_institution"}),
        tz="Europe/Berlin",
        calendar="de",
    )
    clocks = {
        "aware": datetime(2026, 6, 10, 8, tzinfo=UTC),
        "classified_major": datetime(2026, 6, 10, 13, tzinfo=UTC),
    }
    facts = IncidentFacts(clocks=clocks, inputs={"major_incident": True})
    phases = {
        o.phase: o for o in identify(facts, bank, [], shipped_regimes()) if o.regime == "dora_19"
    }
    assert phases["initial"].due_at == datetime(2026, 6, 10, 17, tzinfo=UTC)  # V07
    assert phases["intermediate"].due_at == datetime(2026, 6, 13, 17, tzinfo=UTC)
    assert phases["intermediate"].provisional
    submitted = replace(
        facts,
        submissions={("dora_19", "initial", ""): datetime(2026, 6, 10, 15, tzinfo=UTC)},
    )
    phases = {
        o.phase: o
        for o in identify(submitted, bank, [], shipped_regimes())
        if o.regime == "dora_19"
    }
    assert phases["intermediate"].due_at == datetime(2026, 6, 13, 15, tzinfo=UTC)
    assert not phases["intermediate"].provisional


@pytest.mark.parametrize(
    ("inputs", "state"),
    [
        ({"full_outage_minutes": 31}, "triggered"),
        (
            {"full_outage_minutes": 30, "limited_minutes": 61, "union_users_limited_percent": 6},
            "triggered",
        ),
        ({"full_outage_minutes": 31, "scheduled_maintenance": True}, "not_required"),
        ({"malicious": True, "data_loss_risk": True}, "triggered"),
        ({"full_outage_minutes": 0}, "undecided"),
        (
            {"significant_incident": False, "full_outage_minutes": 31},
            "not_required",
        ),  # a person said
    ],
)
def test_nis2_thresholds_of_cloud_services_decide_what_is_significant(
    inputs: dict[str, object], state: str
) -> None:
    cloud = OperatorProfile(
        capacities=frozenset({"essential_entity"}), service_kinds=frozenset({"cloud"})
    )
    facts = IncidentFacts(clocks=FACTS.clocks, inputs={"scheduled_maintenance": False, **inputs})
    assert owed(facts, cloud)["nis2_23"].state == state


@pytest.mark.parametrize(
    ("inputs", "state"),
    [
        ({"malicious": True, "data_loss_risk": True}, "triggered"),
        ({"clients_affected_percent": 11, "duration_minutes": 1441}, "triggered"),
        ({"clients_affected_percent": 11, "clients_affected": 1, "duration_minutes": 1,
          "critical_downtime_minutes": 1, "member_states": 1, "cost_eur": 1, "malicious": False,
          "counterparts_affected_percent": 1, "transactions_affected_percent": 1}, "not_required"),
        ({"clients_affected_percent": 11}, "undecided"),
    ],
)  # fmt: skip
def test_dora_thresholds_decide_what_is_major(inputs: dict[str, object], state: str) -> None:
    bank = OperatorProfile(capacities=frozenset({"financial_entity"}))
    facts = IncidentFacts(
        clocks={**FACTS.clocks, "classified_major": AWARE},
        inputs={"critical_services_affected": True, **inputs},
    )
    assert owed(facts, bank)["dora_19"].state == state


def test_a_year_beyond_the_calendars_is_provisional_in_words_not_an_error() -> None:
    registrant = OperatorProfile(capacities=frozenset({"registrant"}))
    late = datetime(2036, 3, 3, 9, tzinfo=UTC)
    facts = IncidentFacts(clocks={"determined_material": late}, inputs={"material": True})
    found = owed(facts, registrant)["sec_8k_105"]
    assert found.provisional
    assert "knows 2024 to 2035" in found.basis
