"""Forms to authorities for tests: one obligation, and its form as filled."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.notify.forms.form import Subject, form
from services.notify.obligations.identify import (
    IncidentFacts,
    Obligation,
    OperatorProfile,
    identify,
)
from services.notify.obligations.lifecycle import Kind, Step, stands
from services.notify.obligations.regime_file import shipped_regimes
from services.notify.wording.catalogue import Catalogue
from services.notify.wording.facts import Known
from tests.support.wording import shipped

AWARE = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)


def gdpr_initial() -> Obligation:
    """Return what a controller owes its authority first."""
    regimes = shipped_regimes()
    rows = tuple(row for row in regimes.rows if row.id == "gdpr_33_1")
    operator = OperatorProfile(
        capacities=frozenset({"controller"}), data_subject_regions=frozenset({"EU"})
    )
    facts = IncidentFacts(clocks={"aware": AWARE}, inputs={"privacy": "personal"})
    return next(iter(identify(facts, operator, [], replace(regimes, rows=rows))))


def filled_form(
    owed: Obligation,
    content: Mapping[str, str] | None,
    known: Known | None = None,
    operator: str = "Example Cloud",
    wording: Catalogue | None = None,
) -> dict[str, Any]:
    """Return the form with *content* as iris drafted it; None: nobody drafted yet."""
    steps = []
    if content is not None:
        detail = {"content": dict(content)}
        steps.append(Step(kind=Kind.DRAFT, at=AWARE, by="iris", detail=detail))
    subject = Subject(
        obligation_id="00000000-0000-0000-0000-000000000001",
        incident_id="00000000-0000-0000-0000-000000000002",
        operator_name=operator,
        known=known or Known(number="TOCSIN-2026-0001"),
    )
    row = next(row for row in shipped_regimes().rows if row.id == owed.regime)
    return form(subject, owed, stands(owed, steps), row, wording or shipped())
