"""Bodies of what leaves the straight line, of related incidents, and of clocks."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.cases.bodies.base import Body, Name, Text, Utc, Who
from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from shared.ids import derived_id


class MergeInto(Body):
    """It goes on as another, open incident; its id keeps answering and names the other one."""

    COMMAND = c.MergeInto
    target_id: UUID
    reason: Text

    def order(self, who: Who) -> c.MergeInto:
        return c.MergeInto(actor=who.actor, now=who.now, **self.model_dump())


class Unmerge(Body):
    """Undo a merge: the incident is where it was before."""

    COMMAND = c.UnmergeIncident
    reason: Text

    def order(self, who: Who) -> c.UnmergeIncident:
        return c.UnmergeIncident(actor=who.actor, now=who.now, reason=self.reason)


class Split(Body):
    """Follow some of the detections up as a new incident, whose id is in the answer."""

    COMMAND = c.SplitIncident
    title: Name
    detection_ids: list[UUID] = Field(min_length=1, max_length=10_000)
    reason: Text

    def order(self, who: Who) -> c.SplitIncident:
        return c.SplitIncident(
            actor=who.actor,
            now=who.now,
            new_id=derived_id("split", who.command_id),
            title=self.title,
            detection_ids=tuple(self.detection_ids),
            reason=self.reason,
        )


class Reopen(Body):
    """Take up again what had ended; the clocks stay as they were."""

    COMMAND = c.ReopenIncident
    reason: Text
    new_information_ref: Annotated[str, Field(max_length=500)]

    def order(self, who: Who) -> c.ReopenIncident:
        return c.ReopenIncident(actor=who.actor, now=who.now, **self.model_dump())


class RetractConfirmation(Body):
    """The v-team takes its verdict back."""

    COMMAND = c.RetractConfirmation
    reason: Text

    def order(self, who: Who) -> c.RetractConfirmation:
        return c.RetractConfirmation(actor=who.actor, now=who.now, reason=self.reason)


class ReportContainmentLoss(Body):
    """Name the new assets, or the known indicators that were seen again."""

    COMMAND = c.ReportContainmentLoss
    new_assets: list[Name] = Field(default_factory=list, max_length=500)
    indicator_ids: list[UUID] = Field(default_factory=list, max_length=500)
    note: Text = ""

    def order(self, who: Who) -> c.ReportContainmentLoss:
        return c.ReportContainmentLoss(
            actor=who.actor,
            now=who.now,
            new_assets=tuple(self.new_assets),
            indicator_ids=tuple(self.indicator_ids),
            note=self.note,
        )


class LinkIncident(Body):
    """How this incident stands to another one; the other one shows it, too."""

    COMMAND = c.LinkIncident
    other_id: UUID
    relation: v.Relation
    reason: Text

    def order(self, who: Who) -> c.LinkIncident:
        return c.LinkIncident(actor=who.actor, now=who.now, **self.model_dump())


class UnlinkIncident(Body):
    """Take a link back that was made from this incident."""

    COMMAND = c.UnlinkIncident
    other_id: UUID
    relation: v.Relation
    reason: Text

    def order(self, who: Who) -> c.UnlinkIncident:
        return c.UnlinkIncident(actor=who.actor, now=who.now, **self.model_dump())


class RecordClock(Body):
    """Set an instant from which duties run, once; ``basis`` says how it is known."""

    COMMAND = c.RecordClock
    clock: v.Clock
    instant: Utc
    basis: Text

    def order(self, who: Who) -> c.RecordClock:
        return c.RecordClock(actor=who.actor, now=who.now, **self.model_dump())


class CorrectClock(Body):
    """Correct such an instant; what it was before stays in the log."""

    COMMAND = c.CorrectClock
    clock: v.Clock
    instant: Utc
    reason: Text

    def order(self, who: Who) -> c.CorrectClock:
        return c.CorrectClock(actor=who.actor, now=who.now, **self.model_dump())
