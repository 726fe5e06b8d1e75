"""Bodies of the review and the end, and notes."""

from services.cases.bodies.base import Body, Text, Who
from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from shared.ids import derived_id


class StartReview(Body):
    """The incident is reviewed; the review that begins has the id that is answered."""

    COMMAND = c.StartReview

    def order(self, who: Who) -> c.StartReview:
        review_id = derived_id("review", who.command_id)
        return c.StartReview(actor=who.actor, now=who.now, review_id=review_id)


class Close(Body):
    """SEV0 and SEV1 need an executive incident manager."""

    COMMAND = c.CloseIncident
    disposition: v.Classification = v.Classification.TRUE_POSITIVE
    note: Text = ""

    def order(self, who: Who) -> c.CloseIncident:
        return c.CloseIncident(
            actor=who.actor, now=who.now, disposition=self.disposition, note=self.note
        )


class DeclareNoCustomersAffected(Body):
    """A result like any other, with its reason."""

    COMMAND = c.DeclareNoCustomersAffected
    reason: Text
    basis: Text = ""

    def order(self, who: Who) -> c.DeclareNoCustomersAffected:
        return c.DeclareNoCustomersAffected(
            actor=who.actor, now=who.now, reason=self.reason, basis=self.basis
        )


class AddNote(Body):
    """Free text for the timeline; under legal privilege only legal and auditors read it."""

    COMMAND = c.AddNote
    text: Text
    visibility: v.Visibility = v.Visibility.TEAM

    def order(self, who: Who) -> c.AddNote:
        note_id = derived_id("note", who.command_id)
        return c.AddNote(
            actor=who.actor,
            now=who.now,
            note_id=note_id,
            text=self.text,
            visibility=self.visibility,
        )
