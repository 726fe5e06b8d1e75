"""Deadlines for facts that no incident has: what-if, the same arithmetic as the live path (§4)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.notify.inventory import Clause, Contacts, Tenant
from services.notify.obligations.deadlines import Deadline, Rule
from services.notify.obligations.holds import Delay, Hold, HoldForDays, HoldUntil, held
from services.notify.obligations.identify import (
    AffectedParty,
    IncidentFacts,
    Obligation,
    OperatorProfile,
    identify,
)
from services.notify.obligations.profile import ProfileError, operator_profile
from services.notify.obligations.regimes import CLOCKS, HoldKind, Regimes
from services.notify.obligations.rule_file import parse_rule
from services.notify.scope import Confidence
from shared.contracts.base import Instant
from shared.errors import UserError
from shared.yaml_lines import LineError, node_of
from shared.zones import zone_names

__all__ = ["PreviewBody", "PreviewError", "preview"]

ClockName = Literal[
    "occurred", "detected", "aware", "declared", "confirmed", "classified_major",
    "determined_material", "determined_notifiable", "ransom_paid", "measure_available", "handled",
]  # fmt: skip
Names = Annotated[list[str], Field(max_length=200)]


class PreviewError(UserError):
    """The question cannot be answered; the message says what and where."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Submission(_Body):
    """A phase that was submitted; ``tenant`` for one towards a tenant."""

    regime: str
    phase: str
    at: Instant
    tenant: str = ""


class Operator(_Body):
    """The operator's profile; left out is: not stated."""

    operator_capacities: Names | None = Field(None, alias="capacities")
    operator_data_subject_regions: Names | None = Field(None, alias="data_subject_regions")
    operator_country: str | None = Field(None, alias="country")
    operator_entity_classes: Names | None = Field(None, alias="entity_classes")
    operator_service_kinds: Names | None = Field(None, alias="service_kinds")


class ContractClause(_Body):
    """A clause: hours, or a rule as regimes write it."""

    clause: str = "notice"
    clock: ClockName = "aware"
    hours: int | None = Field(None, ge=1, le=24 * 366)
    rule: dict[str, Any] | None = None


class AffectedTenant(_Body):
    """A tenant as it would stand on the affected list."""

    name: str
    confidence: Confidence = Confidence.PROBABLE
    region: str | None = None
    data_subject_regions: Names | None = None
    industry: str | None = None
    capacities: Names | None = None
    told_at: Instant | None = None
    contract: list[ContractClause] = Field(default_factory=list, max_length=50)


class HoldBody(_Body):
    """A hold or delay of an authority on one regime: one of until, days with stated_at, delay."""

    regime: str
    tz: str
    until: date | None = None
    days: int | None = Field(None, ge=1, le=366)
    stated_at: Instant | None = None
    delay_days: int | None = Field(None, ge=1, le=366)


class PreviewBody(_Body):
    """The facts of an incident that need not exist."""

    clocks: dict[ClockName, Instant] = Field(min_length=1)
    facts: dict[str, Any] = Field(default_factory=dict, description="inputs as regimes name them")
    submissions: list[Submission] = Field(default_factory=list, max_length=500)
    operator: Operator | None = Field(None, description="null: the profile that is configured")
    tenants: list[AffectedTenant] = Field(default_factory=list, max_length=1000)
    regimes: Names | None = Field(None, description="only these, disabled ones too")
    holds: list[HoldBody] = Field(default_factory=list, max_length=50)


def preview(body: PreviewBody, operator: OperatorProfile, regimes: Regimes) -> Sequence[Obligation]:
    """Return what would be owed, the earliest first.

    PreviewError for an unknown regime or zone, a rule or a hold that cannot be read.
    """
    asked = _asked(body, regimes)
    if body.operator is not None:
        try:
            operator = operator_profile(body.operator)
        except ProfileError as error:
            raise PreviewError(str(error)) from error
    facts = IncidentFacts(
        clocks={str(name): at for name, at in body.clocks.items()},
        inputs=body.facts,
        submissions={(s.regime, s.phase, s.tenant): s.at for s in body.submissions},
    )
    parties = [_party(tenant) for tenant in body.tenants]
    holds = {hold.regime: _hold(hold, asked) for hold in body.holds}
    found = (
        _held(obligation, holds.get(obligation.regime))
        for obligation in identify(facts, operator, parties, asked)
    )
    return sorted(found, key=lambda o: (o.due_at, o.regime, o.phase, o.tenant or ""))


def _asked(body: PreviewBody, regimes: Regimes) -> Regimes:
    known = {row.id for row in regimes.rows}
    named = {*(body.regimes or ()), *(h.regime for h in body.holds)}
    if unknown := sorted(named - known):
        raise PreviewError(f"there is no regime {', '.join(unknown)}")
    if body.regimes is None:
        return regimes
    rows = tuple(replace(row, enabled=row.id in body.regimes) for row in regimes.rows)
    return replace(regimes, rows=rows)


def _party(given: AffectedTenant) -> AffectedParty:
    tenant = Tenant(
        name=given.name,
        display_name=given.name,
        contacts=Contacts(),
        region=given.region,
        data_subject_regions=_set(given.data_subject_regions),
        industry=given.industry,
        capacities=_set(given.capacities),
        clauses=tuple(_clause(clause, given.name) for clause in given.contract),
    )
    return AffectedParty(tenant=tenant, confidence=given.confidence, told_at=given.told_at)


def _clause(given: ContractClause, tenant: str) -> Clause:
    what = f"clause {given.clause} of {tenant}"
    if (given.hours is None) == (given.rule is None):
        raise PreviewError(f"{what} needs either hours or a rule")
    terms = given.rule or {"elapsed_hours": given.hours}
    try:
        rule: Rule = parse_rule(node_of(terms), what, CLOCKS)
    except LineError as error:
        raise PreviewError(error.why) from error
    return Clause(id=given.clause, clock=given.clock, terms=_words(terms), rule=rule)


def _hold(given: HoldBody, regimes: Regimes) -> Hold:
    what = f"hold on {given.regime}"
    kind = next(row.hold for row in regimes.rows if row.id == given.regime)
    if given.tz not in zone_names():
        raise PreviewError(f"{what}: there is no time zone {given.tz!r}")
    if kind is HoldKind.NONE:
        raise PreviewError(f"{what}: this regime knows no hold")
    match given.until, given.days, given.stated_at, given.delay_days:
        case date() as until, None, None, None if kind is HoldKind.HOLD:
            return HoldUntil(until, given.tz)
        case None, int() as days, datetime() as stated_at, None if kind is HoldKind.HOLD:
            return HoldForDays(days, stated_at, given.tz)
        case None, None, None, int() as days if kind is HoldKind.DELAY:
            return Delay(days, given.tz)
    wanted = "delay_days" if kind is HoldKind.DELAY else "until, or days with stated_at"
    raise PreviewError(f"{what} needs {wanted}")


def _held(obligation: Obligation, hold: Hold | None) -> Obligation:
    if hold is None:
        return obligation
    base = Deadline(obligation.due_at, (obligation.basis,), obligation.latest_arguable)
    found = held(base, hold)
    return replace(
        obligation,
        due_at=found.due_at,
        latest_arguable=found.latest_arguable,
        basis="; ".join(found.steps),
    )


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _words(terms: dict[str, Any]) -> str:
    hours = terms.get("elapsed_hours")
    return f"{hours} h" if hours else json.dumps(terms)
