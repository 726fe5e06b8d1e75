"""Pure: what is owed, to whom, by when (§4). What cannot be ruled out is `undecided` (I7)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.notify.deadlines import Deadline, ElapsedHours, Rule, deadline
from services.notify.inventory import Tenant
from services.notify.regimes import Regime, Trigger
from services.notify.scope import Confidence

__all__ = [
    "AffectedParty", "Condition", "Facts", "Obligation", "ObligationState", "OperatorProfile",
    "identify", "withdrawn",
]  # fmt: skip

# Value of the severity input `privacy` → is personal data affected? What is not here is not known.
_PERSONAL = {
    "none": False,
    "pseudonymous": True,  # still personal data (GDPR recital 26)
    "personal": True,
    "special_category": True,
}


class ObligationState(StrEnum):
    """The first states of §4.1; the later ones belong to drafts and submissions."""

    UNDECIDED = "undecided"
    TRIGGERED = "triggered"
    NOT_REQUIRED = "not_required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the incident: its clocks and the inputs of the severity policy."""

    clocks: Mapping[str, datetime]
    inputs: Mapping[str, object]

    @property
    def personal_data(self) -> bool | None:
        return _PERSONAL.get(str(self.inputs.get("privacy")))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorProfile:
    """In which capacities the operator acts, and whose data it holds as controller."""

    capacities: frozenset[str] | None = None
    data_subject_regions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedParty:
    """A tenant on the affected list."""

    tenant: Tenant
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of a trigger; ``holds`` is None where it is not known."""

    what: str
    holds: bool | None
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """One duty of one phase towards one recipient, with the words that explain it."""

    regime: str
    regime_version: str
    phase: str
    recipient: str
    tenant: str | None
    state: ObligationState
    clock: str
    clock_at: datetime
    due_at: datetime
    latest_arguable: datetime | None
    internal_target: bool
    provisional: bool
    basis: str
    trigger: tuple[Condition, ...]
    source: str


def identify(
    facts: Facts,
    operator: OperatorProfile,
    parties: Iterable[AffectedParty],
    regimes: Sequence[Regime],
) -> tuple[Obligation, ...]:
    """Return the obligations of an incident, those not required included, in a fixed order."""
    ordered = sorted(parties, key=lambda party: party.tenant.name)
    return tuple(
        obligation
        for regime in regimes
        for obligation in _of_regime(regime, facts, operator, ordered)
    )


def withdrawn(obligation: Obligation, why: str) -> Obligation:
    """Return *obligation* as a person has to decide it anew; it never goes away by itself (I7)."""
    if obligation.state is not ObligationState.TRIGGERED:
        return obligation
    return replace(
        obligation,
        state=ObligationState.UNDECIDED,
        trigger=(*obligation.trigger, Condition("still affected", None, why)),
    )


def _of_regime(
    regime: Regime, facts: Facts, operator: OperatorProfile, parties: Sequence[AffectedParty]
) -> Iterator[Obligation]:
    if regime.duty == "operator":
        conditions = _conditions(regime.trigger, facts, operator, operator.data_subject_regions)
        yield _obligation(regime, facts, conditions, tenant=None)
        return
    for party in parties:
        reached = _reached(party)
        if regime.duty == "tenant":
            regions = _subjects(party.tenant)
            conditions = _conditions(regime.trigger, facts, operator, regions)
            yield _obligation(regime, facts, (*conditions, reached), tenant=party.tenant.name)
            continue
        for clause in party.tenant.clauses:
            if clause.regime == regime.id:
                words = f"clause {clause.id}: {clause.hours} h from {clause.clock}"
                conditions = (Condition("contract clause", True, words), reached)
                yield _obligation(
                    replace(regime, phase=clause.id, clock=clause.clock),
                    facts,
                    conditions,
                    tenant=party.tenant.name,
                    rule=ElapsedHours(clause.hours),
                )


def _reached(party: AffectedParty) -> Condition:
    sure = party.confidence is not Confidence.POSSIBLE
    return Condition(
        "tenant affected", True if sure else None, f"on the list as {party.confidence}"
    )


def _subjects(tenant: Tenant) -> frozenset[str] | None:
    """Return where the tenant's data subjects are, as far as known.

    Establishment alone can bring a tenant under a law (GDPR Art. 3(1)), but never out of it.
    """
    if tenant.data_subject_regions is not None:
        return tenant.data_subject_regions | ({tenant.region} if tenant.region else set())
    return frozenset({tenant.region, "?"}) if tenant.region else None


def _conditions(
    trigger: Trigger,
    facts: Facts,
    operator: OperatorProfile,
    subjects: frozenset[str] | None,
) -> tuple[Condition, ...]:
    found = []
    if trigger.capacity:
        words = "/".join(sorted(trigger.capacity))
        have = operator.capacities
        found.append(
            Condition(
                f"operator acts as {words}",
                None if have is None else bool(have & trigger.capacity),
                "not stated" if have is None else f"operator profile: {', '.join(sorted(have))}",
            )
        )
    if trigger.personal_data:
        given = facts.inputs.get("privacy", "not given")
        found.append(Condition("personal data affected", facts.personal_data, f"privacy: {given}"))
    if trigger.data_subject_regions:
        found.append(_regions(trigger.data_subject_regions, subjects))
    if trigger.unless_risk_unlikely:
        # The duty is the rule; the controller has to show the exception (GDPR Art. 33(1), 5(2)).
        unlikely = facts.inputs.get("risk_unlikely") is True
        because = "stated to be unlikely" if unlikely else "the exception was not established"
        found.append(Condition("risk to persons not unlikely", not unlikely, because))
    return tuple(found)


def _regions(wanted: frozenset[str], subjects: frozenset[str] | None) -> Condition:
    what = f"data subjects in {'/'.join(sorted(wanted))}"
    if subjects is None:
        return Condition(what, None, "not stated")
    known = ", ".join(sorted(subjects - {"?"}))
    if subjects & wanted:
        return Condition(what, True, f"stated: {known}")
    if "?" in subjects:
        return Condition(what, None, f"established in {known}; data subjects not stated")
    return Condition(what, False, f"stated: {known}")


def _obligation(
    regime: Regime,
    facts: Facts,
    conditions: tuple[Condition, ...],
    *,
    tenant: str | None,
    rule: Rule | None = None,
) -> Obligation:
    clock, at, provisional = _clock(regime.clock or "aware", facts)
    if provisional:
        words = f"{regime.clock} is not known; reckoned from {clock} for the time being"
        conditions = (*conditions, Condition(f"clock {regime.clock} known", None, words))
    rule = rule or regime.rule
    if rule is None:
        raise ValueError(f"{regime.id} has no rule")  # parse_regimes does not let this through
    found: Deadline = deadline(rule, clock, at)
    steps = (f"provisional: {clock} instead of {regime.clock}",) if provisional else ()
    return Obligation(
        regime=regime.id,
        regime_version=regime.version,
        phase=regime.phase or "notice",
        recipient=regime.recipient,
        tenant=tenant,
        state=_state(conditions),
        clock=clock,
        clock_at=at,
        due_at=found.due_at,
        latest_arguable=found.latest_arguable,
        internal_target=found.internal_target,
        provisional=provisional,
        basis="; ".join((*steps, *found.steps)),
        trigger=conditions,
        source=regime.source,
    )


def _clock(wanted: str, facts: Facts) -> tuple[str, datetime, bool]:
    """Return the clock to reckon from; the earliest known one in place of an unknown one (V28)."""
    if wanted in facts.clocks:
        return wanted, facts.clocks[wanted], False
    name = min(facts.clocks, key=lambda n: facts.clocks[n])
    return name, facts.clocks[name], True


def _state(conditions: Iterable[Condition]) -> ObligationState:
    holds = [condition.holds for condition in conditions]
    if False in holds:
        return ObligationState.NOT_REQUIRED
    return ObligationState.UNDECIDED if None in holds else ObligationState.TRIGGERED
