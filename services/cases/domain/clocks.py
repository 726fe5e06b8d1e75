"""Decisions about the instants from which duties run (I5)."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.state import Incident
from services.cases.domain.vocabulary import Clock


def _need_possible(
    incident: Incident, command: c.RecordClock | c.CorrectClock, check: Check
) -> None:
    """An instant has come; and awareness is never later than the confirmation."""
    check.need(command.instant <= command.now, "clock_in_future")
    check.need(
        command.clock is not Clock.AWARE
        or incident.confirmed_at is None
        or command.instant <= incident.confirmed_at,
        "aware_in_future",
    )


def record_clock(incident: Incident, command: c.RecordClock, check: Check) -> Sequence[e.Event]:
    """Set a clock, once."""
    known = incident.clocks.get(command.clock)
    if known == command.instant:
        return check.already_so()
    check.need(known is None, "clock_set", f"{command.clock} is set to {known}; correct it")
    check.need(bool(command.basis.strip()), "reason_missing", "say how the instant is known")
    _need_possible(incident, command, check)
    check.settle()
    return [
        e.ClockRecorded(
            actor=check.actor,
            at=command.now,
            clock=command.clock,
            instant=command.instant,
            basis=command.basis,
        )
    ]


def correct_clock(incident: Incident, command: c.CorrectClock, check: Check) -> Sequence[e.Event]:
    """Correct a clock, with reason; what it superseded stays in the log."""
    known = incident.clocks.get(command.clock)
    if known == command.instant and command.clock in incident.corrected:
        return check.already_so()
    check.need(known is not None, "clock_not_set")
    check.need(known != command.instant, "clock_set", f"{command.clock} is set to that already")
    check.need(bool(command.reason.strip()), "reason_missing")
    _need_possible(incident, command, check)
    check.settle()
    return [
        e.ClockCorrected(
            actor=check.actor,
            at=command.now,
            clock=command.clock,
            instant=command.instant,
            supersedes=known or command.instant,
            reason=command.reason,
        )
    ]
