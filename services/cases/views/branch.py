"""What the document shows when an incident leaves the straight line."""

from typing import assert_never

from services.cases.domain import events as e
from services.cases.domain.vocabulary import State
from services.cases.views import Document

__all__ = ["Leaving", "change"]

Leaving = (
    e.IncidentMerged
    | e.IncidentUnmerged
    | e.IncidentSplit
    | e.IncidentReopened
    | e.ConfirmationRetracted
    | e.ContainmentLost
)
_LAPSED = {"containment": None, "eradication": None, "recovery": None}


def change(known: Document, event: Leaving, plain: Document) -> Document:
    """Return the parts of *known* that *event* changes; *plain* are its fields."""
    match event:
        case e.IncidentMerged():
            return {
                "state": State.MERGED.value,
                "merged_into": plain["target_id"],
                "merge": plain,
            }
        case e.IncidentUnmerged():
            return {"state": plain["state"], "merged_into": None, "merge": None}
        case e.IncidentSplit():
            return {"split_off": [*known["split_off"], plain]}
        case e.IncidentReopened():
            return {**_investigated_again(known), "merged_into": None, "reopening": plain}
        case e.ConfirmationRetracted():
            return {**_investigated_again(known), "retraction": plain}
        case e.ContainmentLost():
            return {
                **_LAPSED,
                "state": State.CONFIRMED.value,
                "containment_losses": [*known["containment_losses"], plain],
                "recovery_plan": _unapproved(known),
            }
        case _:
            assert_never(event)


def _investigated_again(known: Document) -> Document:
    return {
        **_LAPSED,
        "state": State.INVESTIGATING.value,
        "verdict": None,
        "review": None,
        "closure": None,
        "recovery_plan": _unapproved(known),
    }


def _unapproved(known: Document) -> Document | None:
    """Return the plan without its approval, which was for another situation."""
    plan: Document | None = known["recovery_plan"]
    return {**plan, "status": "draft", "approved_by": None, "approved_at": None} if plan else None
