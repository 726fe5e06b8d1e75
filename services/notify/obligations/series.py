"""Pure: a phase that recurs is a chain of periods, each an obligation of its own (§4.1).

The next period begins with the submission of the one before, and not earlier. The chain ends when a
phase that follows it is submitted, or when somebody ends it with a reason.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from services.notify.obligations.conditions import Condition
from services.notify.obligations.deadlines import z
from services.notify.obligations.regimes import Phase, Regime, submitted

__all__ = ["clocks_of", "ended_by", "period_of", "periods", "series_of"]

Submissions = Mapping[tuple[str, str, str], datetime]
"""By (regime, period, tenant or "")."""


def series_of(period: str) -> str:
    """Return the phase that *period* belongs to: ``supplement`` of ``supplement#3``."""
    return period.partition("#")[0]


def period_of(period: str) -> int:
    """Return which one of its series *period* is; 1 for the first, which bears no number."""
    return int(period.partition("#")[2] or 1)


def periods(row: Regime, phase: Phase, done: Submissions, tenant: str) -> Iterator[Phase]:
    """Yield the periods of *phase*, first to open one; a phase that does not recur is the only."""
    yield phase
    number, name = 1, phase.id
    while phase.repeats and (row.id, name, tenant) in done:
        before = f"{phase.id}#{number}"
        number += 1
        name = f"{phase.id}#{number}"
        rule = phase.again or phase.rule
        yield replace(phase, id=name, rule=rule, clock=submitted(before), after=before)


def clocks_of(row: Regime, done: Submissions, tenant: str) -> dict[str, datetime]:
    """Return the clocks that submissions started: of each period, and of a series its latest."""
    found: dict[str, datetime] = {}
    recurring = {phase.id for phase in row.phases if phase.repeats}
    for (regime, period, whose), at in done.items():
        if regime != row.id or whose != tenant:
            continue
        name = series_of(period)
        if name in recurring:
            found[submitted(f"{name}#{period_of(period)}")] = at
        found[submitted(name)] = max(at, found.get(submitted(name), at))
    return found


def ended_by(row: Regime, period: Phase, done: Submissions, tenant: str) -> Condition | None:
    """Return that a later phase was submitted, so that *period* is not owed any more, or None."""
    if period_of(period.id) == 1 or (row.id, period.id, tenant) in done:
        return None
    for phase in row.phases:
        at = done.get((row.id, phase.id, tenant))
        if phase.after == series_of(period.id) and at is not None:
            words = f"{phase.id} was submitted at {z(at)}"
            return Condition(f"{series_of(period.id)} goes on", False, words)
    return None
