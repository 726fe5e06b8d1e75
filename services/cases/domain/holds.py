"""Legal holds on an incident: while one is in force nothing of it is erased or disposed of."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.state import Incident


def place(incident: Incident, command: c.PlaceLegalHold, check: Check) -> Sequence[e.Event]:
    """Keep all of the incident, whatever its retention says, until this hold is released."""
    if command.hold in incident.holds:
        return check.already_so()
    check.need(bool(command.hold.strip()), "text_missing", "a hold has a name")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    placed = e.LegalHoldPlaced(
        actor=check.actor, at=command.now, hold=command.hold, reason=command.reason
    )
    return [placed]


def release(incident: Incident, command: c.ReleaseLegalHold, check: Check) -> Sequence[e.Event]:
    """End one hold; the others, if there are any, stay."""
    check.need(bool(command.reason.strip()), "reason_missing")
    check.need(command.hold in incident.holds, "hold_unknown")
    check.settle()
    released = e.LegalHoldReleased(
        actor=check.actor, at=command.now, hold=command.hold, reason=command.reason
    )
    return [released]
