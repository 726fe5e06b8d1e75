"""Pure: what is owed, to whom, by when (§4). What cannot be ruled out is `undecided` (I7)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.notify.inventory import Clause, Tenant
from services.notify.obligations.calendars import CalendarRangeError, shipped_calendar
from services.notify.obligations.conditions import AllOf, Condition, Fact, derived, judge
from services.notify.obligations.conditions import known as known_facts
from services.notify.obligations.deadlines import (
    AUTHORITY,
    Deadline,
    MissingClockError,
    Rule,
    Setting,
    deadline,
)
from services.notify.obligations.regimes import (
    Duty,
    Phase,
    Regime,
    Regimes,
    Trigger,
    submitted,
)
from services.notify.obligations.series import clocks_of, ended_by, period_of, periods
from services.notify.scope import Confidence
from shared.zones import TZDB

__all__ = [
    "AffectedParty", "Holder", "IncidentFacts", "Key", "Obligation", "ObligationState",
    "OperatorProfile", "identify", "withdrawn",
]  # fmt: skip

Key = tuple[str, str, str, str]
"""Regime, phase, recipient and tenant of a duty; the tenant is "" for the operator's own."""
Memo = dict[tuple[object, ...], tuple["Obligation", ...]]

# Value of the severity input `privacy` → what it says of the data. What is not here is not known.
_PRIVACY: Mapping[str, Mapping[str, bool]] = {
    "none": {"personal_data": False, "special_category": False},
    "pseudonymous": {"personal_data": True},  # still personal data (GDPR recital 26)
    "personal": {"personal_data": True},
    "special_category": {"personal_data": True, "special_category": True},
}


class ObligationState(StrEnum):
    """The first states of §4.1; the later ones belong to drafts and submissions."""

    UNDECIDED = "undecided"
    TRIGGERED = "triggered"
    NOT_REQUIRED = "not_required"


class Holder(StrEnum):
    """Whose duty it is; a customer's own is computed to know how much time our notice leaves it."""

    PROVIDER = "provider"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFacts:
    """What is known of the incident: clocks, inputs, and which phases were submitted when.

    ``submissions`` is by (regime, phase, tenant or "").
    """

    clocks: Mapping[str, datetime]
    inputs: Mapping[str, object]
    submissions: Mapping[tuple[str, str, str], datetime] = field(default_factory=dict)

    def facts(self) -> dict[str, Fact]:
        """Return the facts that conditions can ask for; what is not there is not known."""
        privacy = str(self.inputs.get("privacy"))
        return {**_PRIVACY.get(privacy, {}), **known_facts(self.inputs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorProfile:
    """In which capacities the operator acts, where it is, whose data it holds as controller."""

    capacities: frozenset[str] | None = None
    data_subject_regions: frozenset[str] | None = None
    established_in: frozenset[str] | None = None
    entity_classes: frozenset[str] | None = None
    service_kinds: frozenset[str] | None = None
    tz: str | None = None
    calendar: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedParty:
    """A tenant on the affected list; ``told_at`` starts the clocks of its own duties."""

    tenant: Tenant
    confidence: Confidence
    told_at: datetime | None = None


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
    holder: Holder = Holder.PROVIDER
    content: tuple[str, ...] = ()
    late_reasons_required: bool = False
    repeats: bool = False
    tzdb: str = TZDB
    calendars: tuple[str, ...] = ()

    @property
    def period(self) -> int:
        """Which one it is of a phase that recurs; 1 for all others."""
        return period_of(self.phase)


def identify(
    facts: IncidentFacts,
    operator: OperatorProfile,
    parties: Iterable[AffectedParty],
    regimes: Regimes,
    known: Set[Key] = frozenset(),
) -> Iterator[Obligation]:
    """Yield the obligations of an incident in a fixed order.

    Those that are not required are among them, but towards one of perhaps 100,000 tenants only if
    the duty was *known* before. One of several versions of a regime counts: the one in force when
    its clock started.
    """
    rows = [row for row in regimes.enabled if row.covers(_start(row, facts))]
    own_facts = derived(regimes.classifiers, _profile(operator, facts))
    ordered = sorted(parties, key=lambda party: party.tenant.name)
    memo: Memo = {}
    for row in rows:
        match row.duty:
            case Duty.OPERATOR:
                judged = _judged(row, operator, own_facts)
                yield from _phases(row, facts, operator, judged, own_facts, None, Holder.PROVIDER)
                for party in ordered:
                    yield from _customers_own(row, facts, party, regimes, memo, known)
            case Duty.TENANT:
                for party in ordered:
                    yield from _towards_tenant(row, facts, operator, own_facts, party, memo, known)
            case Duty.CLAUSE:
                for party in ordered:
                    for clause in party.tenant.clauses:
                        if clause.regime == row.id:
                            yield _of_clause(row, facts, operator, party, clause)


def withdrawn(obligation: Obligation, why: str) -> Obligation:
    """Return *obligation* as a person has to decide it anew; it never goes away by itself (I7)."""
    if obligation.state is not ObligationState.TRIGGERED:
        return obligation
    return replace(
        obligation,
        state=ObligationState.UNDECIDED,
        trigger=(*obligation.trigger, Condition("still affected", None, why)),
    )


def _profile(operator: OperatorProfile, facts: IncidentFacts) -> dict[str, Fact]:
    stated = {
        "data_subject_regions": operator.data_subject_regions,
        "established_in": operator.established_in,
        "entity_class": operator.entity_classes,
        "service_kind": operator.service_kinds,
    }
    return {**{k: v for k, v in stated.items() if v is not None}, **facts.facts()}


def _start(row: Regime, facts: IncidentFacts) -> datetime:
    clock = row.phases[0].clock if row.phases else "aware"
    return facts.clocks.get(clock) or min(facts.clocks.values())


def _judged(row: Regime, operator: OperatorProfile, own: Mapping[str, Fact]) -> list[Condition]:
    found = []
    if row.capacities:
        have = operator.capacities
        found.append(
            Condition(
                f"operator acts as {'/'.join(sorted(row.capacities))}",
                None if have is None else bool(have & row.capacities),
                "not stated" if have is None else f"operator profile: {', '.join(sorted(have))}",
            )
        )
    return found + _conditions(row.trigger, own)


def _conditions(trigger: Trigger, facts: Mapping[str, Fact]) -> list[Condition]:
    found = [judge(part, facts) for part in trigger.when]
    for part in trigger.unless:
        # The duty is the rule; the exception has to be shown (GDPR Art. 33(1), 5(2)).
        exception = judge(part, facts)
        because = exception.because if exception.holds else "the exception was not established"
        found.append(Condition(f"not: {exception.what}", exception.holds is not True, because))
    return found


def _towards_tenant(
    row: Regime,
    facts: IncidentFacts,
    operator: OperatorProfile,
    own: Mapping[str, Fact],
    party: AffectedParty,
    memo: Memo,
    known: Set[Key],
) -> Iterator[Obligation]:
    """Yield what the operator owes a tenant; where data subjects are is the tenant's to say."""
    tenant = party.tenant
    kin = ("towards", row.id, *_kin(facts, party))
    if kin not in memo:
        theirs = _tenant_facts(tenant)
        theirs.pop("established_in", None)
        about = {k: v for k, v in own.items() if k != "data_subject_regions"} | theirs
        judged = [*_judged(row, operator, about), _reached(party)]
        memo[kin] = tuple(
            _phases(row, facts, operator, judged, about, tenant.name, Holder.PROVIDER)
        )
    yield from _named(memo[kin], tenant.name, known)


def _customers_own(
    row: Regime,
    facts: IncidentFacts,
    party: AffectedParty,
    regimes: Regimes,
    memo: Memo,
    known: Set[Key],
) -> Iterator[Obligation]:
    """Yield what the tenant owes under its own capacity, from the moment that we tell it."""
    tenant = party.tenant
    if not tenant.capacities or not tenant.capacities & row.capacities:
        return
    kin = ("own", row.id, *_kin(facts, party))
    if kin not in memo:
        profile = OperatorProfile(capacities=tenant.capacities)
        about = derived(regimes.classifiers, {**facts.facts(), **_tenant_facts(tenant)})
        told = party.told_at or min(facts.clocks.values())
        clocks = {phase.clock: told for phase in row.phases if phase.after is None}
        judged = [*_judged(row, profile, about), _reached(party)]
        if party.told_at is None:
            judged.append(
                Condition("tenant was told", None, "its own clock starts when we tell it")
            )
        theirs = replace(facts, clocks=clocks, submissions={})
        memo[kin] = tuple(
            _phases(row, theirs, profile, judged, about, tenant.name, Holder.CUSTOMER)
        )
    yield from _named(memo[kin], tenant.name, known)


def _named(alike: Iterable[Obligation], name: str, known: Set[Key]) -> Iterator[Obligation]:
    for one in alike:
        if (
            one.state is not ObligationState.NOT_REQUIRED
            or (one.regime, one.phase, one.recipient, name) in known
        ):
            yield replace(one, tenant=name)


def _kin(facts: IncidentFacts, party: AffectedParty) -> tuple[object, ...]:
    """Return what makes tenants alike: a hundred thousand of them are a few dozen kinds."""
    tenant = party.tenant
    apart = any(name == tenant.name for _, _, name in facts.submissions)
    return (
        tenant.name if apart else "",
        tenant.capacities,
        tenant.region,
        tenant.data_subject_regions,
        tenant.industry,
        party.confidence,
        party.told_at,
    )


def _tenant_facts(tenant: Tenant) -> dict[str, Fact]:
    """Return what is known of the tenant; ``?`` stands for regions beyond those known.

    Establishment alone can bring a tenant under a law (GDPR Art. 3(1)), but never out of it.
    """
    found: dict[str, Fact] = {}
    here = frozenset({tenant.region}) if tenant.region else frozenset()
    if tenant.data_subject_regions is not None:
        found["data_subject_regions"] = tenant.data_subject_regions | here
    elif here:
        found["data_subject_regions"] = here | {"?"}
    if here:
        found["established_in"] = here
    if tenant.industry:
        found["industry"] = frozenset({tenant.industry})
    return found


def _reached(party: AffectedParty) -> Condition:
    sure = party.confidence is not Confidence.POSSIBLE
    return Condition(
        "tenant affected", True if sure else None, f"on the list as {party.confidence}"
    )


def _of_clause(
    row: Regime,
    facts: IncidentFacts,
    operator: OperatorProfile,
    party: AffectedParty,
    clause: Clause,
) -> Obligation:
    words = f"clause {clause.id}: {clause.terms} from {clause.clock}"
    conditions = [Condition("contract clause", True, words), _reached(party)]
    phase = Phase(
        id=clause.id,
        rule=clause.rule,
        clock=clause.clock,
        recipients=("tenant",),
        content=clause.content,
    )
    found = _phase(row, phase, facts, operator, conditions, party.tenant.name, {})
    return found[0]


def _phases(
    row: Regime,
    facts: IncidentFacts,
    operator: OperatorProfile,
    judged: Sequence[Condition],
    about: Mapping[str, Fact],
    tenant: str | None,
    holder: Holder,
) -> Iterator[Obligation]:
    """Yield the phases; one that follows another runs from its submission, or else its due time."""
    due: dict[str, datetime] = {}
    for phase in row.phases:
        conditions = list(judged)
        if phase.when:
            conditions.append(judge(AllOf(phase.when), about))
        for period in periods(row, phase, facts.submissions, tenant or ""):
            over = ended_by(row, period, facts.submissions, tenant or "")
            asked = [*conditions, over] if over else conditions
            for obligation in _phase(row, period, facts, operator, asked, tenant, due):
                due[period.id] = obligation.due_at
                yield replace(obligation, holder=holder)


def _phase(
    row: Regime,
    phase: Phase,
    facts: IncidentFacts,
    operator: OperatorProfile,
    conditions: Sequence[Condition],
    tenant: str | None,
    due: Mapping[str, datetime],
) -> tuple[Obligation, ...]:
    clocks, provisional = _clocks(row, phase, facts, tenant, due)
    setting = _setting(row, operator, clocks)
    try:
        found, clock, missing = _reckon(phase.rule, phase.clock, clocks, setting)
    except CalendarRangeError as error:
        provisional = (*provisional, f"{error}: only weekends are left out")
        weekends = replace(setting, calendars=lambda _: shipped_calendar("weekends"))
        found, clock, missing = _reckon(phase.rule, phase.clock, clocks, weekends)
    judged = list(conditions)
    if missing:
        words = f"{missing} is not known; reckoned from {clock} for the time being"
        judged.append(Condition(f"clock {missing} known", None, words))
        provisional = (*provisional, f"{clock} instead of {missing}")
    provisional = (*provisional, *found.assumed)
    steps = tuple(f"provisional: {words}" for words in provisional)
    state = _state(judged)
    return tuple(
        Obligation(
            regime=row.id,
            regime_version=row.version,
            phase=phase.id,
            recipient=recipient,
            tenant=tenant,
            state=state,
            clock=clock,
            clock_at=clocks[clock],
            due_at=found.due_at,
            latest_arguable=found.latest_arguable,
            internal_target=found.internal_target,
            provisional=bool(provisional),
            basis="; ".join((*steps, *found.steps)),
            trigger=tuple(judged),
            source=row.source,
            content=phase.content,
            late_reasons_required=row.late_reasons_required,
            repeats=phase.repeats,
            calendars=found.calendars,
        )
        for recipient in phase.recipients
    )


def _clocks(
    row: Regime, phase: Phase, facts: IncidentFacts, tenant: str | None, due: Mapping[str, datetime]
) -> tuple[dict[str, datetime], tuple[str, ...]]:
    """Return the clocks of a phase; a phase before that was not submitted counts as on time."""
    clocks = {**facts.clocks, **clocks_of(row, facts.submissions, tenant or "")}
    if phase.after is None or submitted(phase.after) in clocks or phase.after not in due:
        return clocks, ()
    clocks[submitted(phase.after)] = due[phase.after]
    return clocks, (f"{phase.after} is not submitted yet, its deadline is taken",)


def _reckon(
    rule: Rule, clock: str, clocks: Mapping[str, datetime], setting: Setting
) -> tuple[Deadline, str, str | None]:
    """Return the deadline, its clock, and the clock that was wanted but is not known (V28)."""
    try:
        found = deadline(rule, clock, setting)
    except MissingClockError as error:
        name = min(clocks, key=lambda n: clocks[n])
        stand_in = {**clocks, error.clock: clocks[name], clock: clocks.get(clock, clocks[name])}
        return deadline(rule, clock, replace(setting, clocks=stand_in)), name, error.clock
    if clock in clocks:
        return found, clock, None
    # A choice that was settled by its other clocks; its own is still to come.
    return found, min(clocks, key=lambda n: clocks[n]), clock


def _setting(row: Regime, operator: OperatorProfile, clocks: Mapping[str, datetime]) -> Setting:
    return Setting(
        clocks=clocks,
        tz=operator.tz if row.tz in {None, AUTHORITY} else row.tz,
        calendar=operator.calendar if row.calendar in {None, AUTHORITY} else row.calendar,
        entity_classes=operator.entity_classes or frozenset(),
    )


def _state(conditions: Iterable[Condition]) -> ObligationState:
    holds = [condition.holds for condition in conditions]
    if False in holds:
        return ObligationState.NOT_REQUIRED
    return ObligationState.UNDECIDED if None in holds else ObligationState.TRIGGERED
