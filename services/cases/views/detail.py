"""The incident in full: everything that its events say, as one document (R29, R31)."""

from collections.abc import Callable, Sequence
from typing import Any, assert_never

import msgspec

from services.cases.domain import events as e
from services.cases.domain.vocabulary import State
from services.cases.store import Recorded
from services.cases.views import Document, access, assets, branch, facts, links

__all__ = ["project"]


def project(document: Document | None, recorded: Recorded) -> Document:
    """Return *document* after *recorded*; None is an incident not yet seen."""
    event = recorded.event
    known = document if document is not None else _blank(recorded)
    changed = _change(known, event)
    return {
        **known,
        **changed,
        **assets.touched(known, event),
        "version": recorded.version,
        "position": recorded.position,
        "updated_at": msgspec.to_builtins(event.at),
    }


def _blank(recorded: Recorded) -> Document:
    empty: dict[str, Callable[[], Any]] = {
        "detections": list,
        "indicators": list,
        "actions": list,
        "notes": list,
        "pages": list,
        "obligations": list,
        "acknowledgements": list,
        "assets": list,
        "lowering_approvals": list,
        "engagements": list,
        "support_cases": list,
        "recommendations": list,
        "links": list,
        "merged_from": list,
        "split_off": list,
        "containment_losses": list,
        "summaries": list,
        "clocks": dict,
    }
    nothing_yet = (
        "severity", "severity_proposal", "severity_reassessment", "priority", "priority_proposal",
        "escalation", "v_team", "summary", "verdict", "scope", "containment", "recovery_plan",
        "eradication", "recovery", "review", "closure", "affected_customers",
        "merged_into", "merge", "reopening", "retraction",
    )  # fmt: skip
    return {
        "incident_id": str(recorded.stream_id),
        "state": State.OPENED.value,
        "detection_count": 0,
        "root_cause": {"status": "open"},
        "access": dict(access.BLANK),
        "notifications": {"sent": 0, "entries": [], "completed": None},
        **dict.fromkeys(nothing_yet),
        **{name: make() for name, make in empty.items()},
    }


def _plain(event: e.Event) -> Document:
    """Return the fields of *event*, its actor as ``by`` (and the role stood in for, if any)."""
    fields: Document = msgspec.json.decode(msgspec.json.encode(event))
    actor = fields.pop("actor")
    fields["by"] = actor["id"]
    if actor["acting_for"]:
        fields["acting_for"] = actor["acting_for"]
    return fields


def _patched(rows: Sequence[Document], key: str, update: Document) -> list[Document]:
    """Return *rows* with *update* laid over the one that has the same *key*."""
    return [{**row, **update} if row[key] == update[key] else row for row in rows]


def _moved(to: State, **parts: Any) -> Document:
    return {"state": to.value, **parts}


def _change(known: Document, event: e.Event) -> Document:
    plain = _plain(event)
    match event:
        case e.IncidentOpened():
            source = {
                "kind": plain.pop("source_kind"),
                "refs": plain.pop("source_refs"),
                "reason": plain.pop("reason"),
            }
            opened = {"opened_at": plain.pop("at"), "opened_by": plain.pop("by")}
            detected = {"instant": plain["detected_at"], "basis": "the source", "corrections": []}
            clocks = {"detected": detected}
            return _moved(State.OPENED, source=source, clocks=clocks, **opened, **plain)
        case e.DetectionsAttached():
            attached = [detection["content"] for detection in plain["detections"]]
            return {
                "detections": [*known["detections"], *attached],
                "detection_count": event.count,
            }
        case e.SeverityProposed():
            return {"severity_proposal": {**plain["assessment"], "at": plain["at"]}}
        case e.PriorityProposed():
            return {"priority_proposal": plain}
        case e.SeveritySet() | e.SeverityChanged():
            return {"severity": plain, "severity_reassessment": None, "lowering_approvals": []}
        case e.LoweringApproved():
            return {"lowering_approvals": [*known.get("lowering_approvals", ()), plain]}
        case e.PrioritySet():
            return {"priority": plain}
        case e.IncidentEscalated():
            return _moved(State.ESCALATED, escalation=plain)
        case e.IncidentDismissed():
            return _moved(State.FALSE_POSITIVE, verdict={"outcome": "dismissed", **plain})
        case e.VTeamFormed():
            return _moved(State.INVESTIGATING, v_team=plain)
        case e.SummaryRecorded():
            return {"summary": plain, "summaries": [*known["summaries"], plain]}
        case e.IndicatorLinked():
            return {"indicators": [*known["indicators"], {**plain, "assessment": None}]}
        case e.IndicatorAssessed():
            key = plain.pop("indicator_id")
            update = {"indicator_id": key, "assessment": plain}
            return {"indicators": _patched(known["indicators"], "indicator_id", update)}
        case e.ActionRecorded():
            return {"actions": [*known["actions"], {**plain, "status": "open", "result": ""}]}
        case e.ActionUpdated():
            update = {k: plain[k] for k in ("action_id", "status", "result")}
            update |= {"updated_at": plain["at"], "updated_by": plain["by"]}
            done = {"action_id": plain["action_id"], "status": "done"}
            return {
                "actions": _patched(known["actions"], "action_id", update),
                # A recommendation that became this action is done with it (R31g).
                "recommendations": _patched(known["recommendations"], "action_id", done)
                if plain["status"] == "done"
                else known["recommendations"],
            }
        case e.IncidentConfirmed():
            clocks = known["clocks"]
            if "aware" not in clocks:
                aware = {"instant": plain["aware_at"], "basis": "confirmation", "corrections": []}
                clocks = {**clocks, "aware": aware}
            return _moved(State.CONFIRMED, clocks=clocks, verdict={"outcome": "confirmed", **plain})
        case e.ScopeSet():
            return {"scope": plain.pop("scope") | plain}
        case e.SeverityReassessmentRequested():
            return {"severity_reassessment": plain}
        case e.IncidentContained():
            return _moved(State.CONTAINED, containment=plain)
        case e.RootCauseHypothesised():
            return {"root_cause": {"status": "hypothesised", **plain}}
        case e.RootCauseDetermined():
            return {"root_cause": {"status": "determined", **plain}}
        case e.RootCauseAcceptedUnknown():
            return {"root_cause": {"status": "accepted_unknown", **plain}}
        case e.RecoveryPlanDrafted():
            return {"recovery_plan": {"status": "draft", **plain}}
        case e.RecoveryPlanApproved():
            approved = {
                "status": "approved",
                "approved_by": plain["by"],
                "approved_at": plain["at"],
            }
            return {"recovery_plan": {**(known["recovery_plan"] or {}), **approved}}
        case e.IncidentEradicated():
            return _moved(State.ERADICATED, eradication=plain)
        case e.IncidentRecovered():
            executed = {**(known["recovery_plan"] or {}), "status": "executed"}
            return _moved(State.RECOVERED, recovery=plain, recovery_plan=executed)
        case e.ReviewStarted():
            return _moved(State.IN_REVIEW, review=plain)
        case e.IncidentClosed():
            return _moved(State.CLOSED, closure=plain)
        case e.NoCustomersAffectedDeclared():
            return {"affected_customers": {"none_affected": True, **plain}}
        case e.AffectedCustomersIdentified():
            return {"affected_customers": {"none_affected": False, **plain}}
        case e.CustomersNotified():
            return {"notifications": {**known["notifications"], "completed": plain}}
        case e.NoteAdded():
            return {"notes": [*known["notes"], plain]}
        case e.FactRecorded():
            return facts.change(known, event, plain)
        case (
            e.IncidentMerged()
            | e.IncidentUnmerged()
            | e.IncidentSplit()
            | e.IncidentReopened()
            | e.ConfirmationRetracted()
            | e.ContainmentLost()
        ):
            return branch.change(known, event, plain)
        case e.VTeamMemberAdded():
            return {"v_team": _joined(known["v_team"], plain)}
        case e.VTeamMemberRemoved():
            team = known["v_team"] or {"members": [], "lead": ""}
            gone = (plain["person"], plain["kind"])
            members = [m for m in team["members"] if (m["person"], m["kind"]) != gone]
            return {"v_team": {**team, "members": members}}
        case e.VTeamCompositionBroken():
            return {"v_team": {**(known["v_team"] or {}), "missing": plain["missing"]}}
        case e.IndicatorClassified():
            update = {name: plain[name] for name in ("indicator_id", "attack_vector", "techniques")}
            return {"indicators": _patched(known["indicators"], "indicator_id", update)}
        case e.RecommendationAdded():
            added = {**plain, "status": "open", "decision": None, "action_id": None}
            return {"recommendations": [*known["recommendations"], added]}
        case e.RecommendationDecided():
            update = {
                "recommendation_id": plain.pop("recommendation_id"),
                "status": plain["decision"],
                "action_id": plain.pop("action_id"),
                "decision": plain,
            }
            return {
                "recommendations": _patched(known["recommendations"], "recommendation_id", update)
            }
        case e.IncidentLinked():
            return {"links": links.with_own(known["links"], plain)}
        case e.IncidentUnlinked():
            return {"links": links.without_own(known["links"], plain)}
        case e.ClockRecorded():
            reading = {name: plain[name] for name in ("instant", "basis", "at", "by")}
            clock = {plain["clock"]: {**reading, "corrections": []}}
            return {"clocks": {**known["clocks"], **clock}}
        case e.ClockCorrected():
            return {"clocks": _corrected(known["clocks"], plain)}
        case e.PersonalDataErased():
            return {"erasures": [*known.get("erasures", ()), plain]}
        case e.LegalHoldPlaced():
            return {"legal_holds": [*known.get("legal_holds", ()), plain]}
        case e.LegalHoldReleased():
            held = known.get("legal_holds", ())
            return {"legal_holds": [one for one in held if one["hold"] != event.hold]}
        case (
            e.AccessRestricted()
            | e.RestrictionLifted()
            | e.AccessGranted()
            | e.AccessRevoked()
            | e.GlassBroken()
        ):
            return {"access": access.change(known["access"], event, plain)}
        case _:
            assert_never(event)


def _joined(team: Document | None, plain: Document) -> Document:
    new, known = plain["member"], team or {"members": [], "lead": ""}
    others = [
        m for m in known["members"] if (m["person"], m["kind"]) != (new["person"], new["kind"])
    ]
    return {
        **known,
        "members": [*others, new],
        "lead": new["person"] if plain["leads"] else known["lead"],
        "missing": [kind for kind in known.get("missing", ()) if kind != new["kind"]],
    }


def _corrected(clocks: Document, plain: Document) -> Document:
    known = clocks.get(plain["clock"], {"basis": "", "corrections": []})
    correction = {name: plain[name] for name in ("supersedes", "reason", "at", "by")}
    reading = {
        **known,
        "instant": plain["instant"],
        "corrections": [*known["corrections"], correction],
    }
    return {**clocks, plain["clock"]: reading}
