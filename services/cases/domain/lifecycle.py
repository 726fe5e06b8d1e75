"""Decisions that leave the straight line: merge and split, reopen, retract, containment lost."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.state import Incident
from services.cases.domain.vocabulary import State
from services.cases.domain.workflow import ACTIVE


def merge(incident: Incident, command: c.MergeInto, check: Check) -> Sequence[e.Event]:
    """Let it go on as another one: open, not itself, and not one that became this one (§3.3)."""
    if incident.state is State.MERGED and incident.merged_into == command.target_id:
        return check.already_so()
    target = command.target
    check.need(target.state is not None, "other_unknown")
    check.need(not target.itself, "other_is_itself")
    check.need(
        target.state in (None, *ACTIVE),
        "target_not_open",
        f"the target is {target.state}, not open",
    )
    check.need(not target.leads_back, "merge_cycle")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.IncidentMerged(
            actor=check.actor,
            at=command.now,
            target_id=command.target_id,
            former=incident.state,
            reason=command.reason,
        )
    ]


def unmerge(incident: Incident, command: c.UnmergeIncident, check: Check) -> Sequence[e.Event]:
    """Undo a merge: back to where it was, since nothing was moved and nothing deleted."""
    came = incident.came_back
    if (
        isinstance(came, e.IncidentUnmerged)
        and incident.state is came.state
        and came.reason == command.reason
    ):
        return check.already_so()
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    assert incident.merged_into is not None  # noqa: S101 - MERGED is the only state that passes
    return [
        e.IncidentUnmerged(
            actor=check.actor,
            at=command.now,
            target_id=incident.merged_into,
            state=incident.former,
            reason=command.reason,
        )
    ]


def split(incident: Incident, command: c.SplitIncident, check: Check) -> Sequence[e.Event]:
    """Follow some detections up as an incident of their own; they stay attached here, too."""
    if command.new_id in incident.split_off:
        return check.already_so()
    asked = set(command.detection_ids)
    for unknown in sorted(asked - incident.detection_ids):
        check.need(False, "detection_unknown", f"no detection {unknown} here")
    check.need(bool(asked) and bool(incident.detection_ids - asked), "split_empty")
    check.need(bool(command.title.strip()), "text_missing", "an incident needs a title")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.IncidentSplit(
            actor=check.actor,
            at=command.now,
            new_id=command.new_id,
            title=command.title,
            detection_ids=tuple(sorted(asked)),
            reason=command.reason,
        )
    ]


def reopen(incident: Incident, command: c.ReopenIncident, check: Check) -> Sequence[e.Event]:
    """Take up again what had ended, because of something new; the clocks stay (I5)."""
    came = incident.came_back
    if (
        incident.state is State.INVESTIGATING
        and isinstance(came, e.IncidentReopened)
        and (came.reason, came.new_information_ref) == (command.reason, command.new_information_ref)
    ):
        return check.already_so()
    check.need(bool(command.reason.strip()), "reason_missing")
    check.need(bool(command.new_information_ref.strip()), "new_information_missing")
    check.settle()
    return [
        e.IncidentReopened(
            actor=check.actor,
            at=command.now,
            former=incident.state,
            reason=command.reason,
            new_information_ref=command.new_information_ref,
            merged_into=incident.merged_into,
        )
    ]


def retract(incident: Incident, command: c.RetractConfirmation, check: Check) -> Sequence[e.Event]:
    """Take the verdict back: a complete v-team's to say, as giving it was (I3)."""
    came = incident.came_back
    if (
        incident.state is State.INVESTIGATING
        and isinstance(came, e.ConfirmationRetracted)
        and came.reason == command.reason
    ):
        return check.already_so()
    check.verdict_by(incident, command.actor)
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [e.ConfirmationRetracted(actor=check.actor, at=command.now, reason=command.reason)]


def lose_containment(
    incident: Incident, command: c.ReportContainmentLoss, check: Check
) -> Sequence[e.Event]:
    """Report that the attack goes on after all: a new asset, or a known indicator seen again."""
    came = incident.came_back
    if (
        incident.state is State.CONFIRMED
        and isinstance(came, e.ContainmentLost)
        and (came.new_assets, came.indicator_ids) == (command.new_assets, command.indicator_ids)
    ):
        return check.already_so()
    named = any(asset.strip() for asset in command.new_assets)
    check.need(named or bool(command.indicator_ids), "loss_unproven")
    for key in command.indicator_ids:
        check.need(key in incident.indicators, "indicator_unknown", f"no indicator {key} here")
    check.settle()
    return [
        e.ContainmentLost(
            actor=check.actor,
            at=command.now,
            new_assets=command.new_assets,
            indicator_ids=command.indicator_ids,
            note=command.note,
        )
    ]
