"""Bodies of legal holds."""

from services.cases.bodies.base import Body, Name, Text, Who
from services.cases.domain import commands as c


class PlaceLegalHold(Body):
    """Nothing of the incident is erased and none of its evidence disposed of while it lasts."""

    COMMAND = c.PlaceLegalHold
    hold: Name
    reason: Text

    def order(self, who: Who) -> c.PlaceLegalHold:
        return c.PlaceLegalHold(actor=who.actor, now=who.now, hold=self.hold, reason=self.reason)


class ReleaseLegalHold(Body):
    """The other holds, if any, stay."""

    COMMAND = c.ReleaseLegalHold
    hold: Name
    reason: Text

    def order(self, who: Who) -> c.ReleaseLegalHold:
        return c.ReleaseLegalHold(actor=who.actor, now=who.now, hold=self.hold, reason=self.reason)
