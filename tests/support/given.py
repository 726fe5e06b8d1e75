"""`given(*events).when(command)`: a decision of the incident's core as one sentence."""

from collections.abc import Sequence

from services.cases.domain.commands import Command
from services.cases.domain.errors import NotAllowed
from services.cases.domain.events import Event
from services.cases.domain.incident import Incident, decide, fold


class Given:
    """An incident that *events* made."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.incident: Incident = fold(events)

    def when(self, command: Command) -> list[Event]:
        """Return what *command* causes; NotAllowed if a rule refuses it."""
        return list(decide(self.incident, command))

    def refuses(self, command: Command) -> set[str]:
        """Return the codes of every unmet condition; AssertionError if it is allowed."""
        try:
            events = decide(self.incident, command)
        except NotAllowed as refusal:
            return {unmet.code for unmet in refusal.unmet}
        raise AssertionError(f"allowed, and caused {events}")


def given(*events: Event) -> Given:
    """Return the incident that *events* made."""
    return Given(events)
