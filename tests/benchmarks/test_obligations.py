"""All regimes for 100,000 affected tenants, evaluated on one core (target: under 30 s)."""

import time
from datetime import UTC, datetime
from random import Random

import pytest

from services.notify.inventory import Clause, Contacts, Tenant
from services.notify.obligations.deadlines import ElapsedHours
from services.notify.obligations.identify import (
    AffectedParty,
    IncidentFacts,
    ObligationState,
    OperatorProfile,
    identify,
)
from services.notify.obligations.regime_file import load_regimes, shipped_regimes
from services.notify.scope import Confidence

pytestmark = pytest.mark.benchmark

TENANTS = 100_000
REGIONS = ("EU", "US", "UK", "JP", "SG", "BR", "AU", "IN", None)
INDUSTRIES = ("financial", "health", "government", "retail", "logistics", None)


def test_all_regimes_for_a_hundred_thousand_tenants() -> None:
    chance = Random(7)  # noqa: S311 - reproducible, not secret
    contacts = Contacts(emails=("a@example.com",))
    parties = [
        AffectedParty(
            tenant=Tenant(
                name=f"tenant-{n:06}",
                display_name=f"Tenant {n}",
                contacts=contacts,
                region=chance.choice(REGIONS),
                data_subject_regions=chance.choice((None, frozenset({"EU"}), frozenset({"US"}))),
                industry=chance.choice(INDUSTRIES),
                capacities=chance.choice((None, frozenset({"controller"}))),
                clauses=(Clause(id="1", clock="aware", terms="h", rule=ElapsedHours(24)),)
                if n % 3 == 0
                else (),
            ),
            confidence=chance.choice(list(Confidence)),
        )
        for n in range(TENANTS)
    ]
    every = {row.id: True for row in shipped_regimes().rows if row.status != "proposed"}
    regimes = load_regimes([], every)
    operator = OperatorProfile(
        capacities=frozenset({"controller", "processor", "ict_third_party", "business_associate"}),
        data_subject_regions=frozenset({"EU"}),
    )
    aware = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)
    facts = IncidentFacts(
        clocks={"aware": aware, "detected": aware}, inputs={"privacy": "personal"}
    )
    begun = time.process_time()
    counted = dict.fromkeys(ObligationState, 0)
    for obligation in identify(facts, operator, parties, regimes):
        counted[obligation.state] += 1
    seconds = time.process_time() - begun
    rows = len(regimes.enabled)
    print(f"\n{rows} regimes, {TENANTS:,} tenants: {seconds:.1f} s of one core, {counted}")
    assert seconds < 30
