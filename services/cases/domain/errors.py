"""The closed set of refusals. Only the edge knows HTTP.

NotAllowed     a rule said no; ``unmet`` lists every condition that does not hold, not the first
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CODES", "NotAllowed", "Unmet"]

CODES = {
    "role_missing": "the actor holds none of the roles that may do this",
    "wrong_state": "the incident is not in a state where this can be done",
    "reason_missing": "a reason has to be given in writing",
    "severity_not_set": "the service team has not set the severity (R23, I1)",
    "severity_too_high": "only SEV3 and SEV4 may be dismissed at triage",
    "override_reason_missing": "differing from the computed value needs a reason",
    "lowering_needs_security_response": "only security response lowers a severity after escalation",
    "second_person_missing": "going below a floor of the policy needs a second person (I4)",
    "no_floor": "nothing holds the severity up there, so nobody has to approve it",
    "priority_not_set": "no priority has been set (R24a)",
    "priority_factors_missing": "functional, informational and recoverability have to be named",
    "owning_team_missing": "an escalation has exactly one owning team (I2)",
    "member_kind_missing": "the v-team lacks a mandatory kind of member (R25b, I3)",
    "lead_not_member": "the lead has to be a member of the v-team",
    "not_in_v_team": "only a member of the v-team may do this (I3)",
    "summary_missing": "no summary has been recorded (R31a)",
    "potential_impact_missing": "no potential impact has been recorded (R31a)",
    "too_long": "a text is longer than its limit",
    "no_supporting_indicator": "no indicator is assessed as supporting, and no justification given",
    "indicator_unknown": "the incident has no such indicator",
    "confidence_out_of_range": "confidence is a number from 0 to 100",
    "aware_in_future": "awareness cannot be later than the confirmation (I5)",
    "action_unknown": "the incident has no such action",
    "action_ended": "the action has ended and cannot be taken up again",
    "services_missing": "a protective action names the services that it protects (R32b)",
    "result_missing": "ending an action in this way needs a result in writing",
    "only_provisional": "before confirmation only provisional emergency actions are allowed (R32a)",
    "provisional_actions_open": "a provisional action is neither rolled back nor kept with reason",
    "classification_invalid": "that verdict does not end an incident in this way",
    "scope_empty": "a scope has to include something: it is never everyone (§5 A10)",
    "window_reversed": "the window has to end after it begins",
    "no_containment_action": "no containment action is done",
    "criteria_not_met": "every criterion of containment has to be ticked",
    "root_cause_open": "the root cause is neither determined nor accepted as unknown",
    "root_cause_settled": "the root cause is settled; it can only be determined anew",
    "plan_missing": "there is no such recovery plan",
    "plan_not_approved": "the newest recovery plan is not approved (R33b)",
    "steps_missing": "a recovery plan has at least one step",
    "approver_is_author": "the author of a plan cannot approve it",
    "verification_missing": "how it was verified has to be given in writing",
    "monitoring_period_missing": "heightened monitoring has to last beyond now",
    "not_confirmed": "the incident has no verdict (R09b)",
    "not_contained": "the incident was not contained",
    "not_recovered": "the incident has not recovered",
    "affected_customers_open": "neither a list of affected customers nor a decision that none are",
    "customers_affected": "a list of affected customers says otherwise",
    "actions_open": "an action is still open",
    "evidence_open": "an item of evidence is not sealed with its retention set (I6)",
    "review_open": "the review of a SEV0 to SEV2 is neither signed off nor waived (I6)",
    "obligations_open": "an obligation is neither met, nor ruled out, nor waived (I6)",
    "text_missing": "a text has to be given",
    "field_missing": "the case-management policy demands a field that is not filled (R29)",
    "other_unknown": "there is no such incident",
    "other_is_itself": "an incident does not stand to itself",
    "target_not_open": "an incident is only merged into one that is open",
    "merge_cycle": "the target was itself merged into this incident",
    "link_contradicted": "the other incident claims the same of this one",
    "link_unknown": "there is no such link",
    "split_empty": "a split takes some of the detections and leaves some",
    "detection_unknown": "the incident has no such detection",
    "new_information_missing": "what is new has to be referred to",
    "loss_unproven": "containment is lost by a new asset or by an indicator seen again",
    "not_lead": "only the lead of the v-team changes who is on it",
    "recommendation_unknown": "the incident has no such recommendation",
    "recommendation_decided": "the recommendation has been decided",
    "clock_set": "the clock is set; it can only be corrected, with a reason (I5)",
    "clock_not_set": "the clock is not set, so there is nothing to correct",
    "clock_in_future": "a clock is never set to an instant that has not come",
    "not_restricted": "the incident is not restricted: every reader sees it",
    "not_granted": "that person was not let in",
    "grant_ended": "a grant ends at an instant that is still to come",
    "hold_unknown": "there is no such hold on the incident",
    "technique_malformed": "an ATT&CK technique reads T1110 or T1110.003",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unmet:
    """One condition that does not hold; ``code`` is a key of CODES."""

    code: str
    detail: str


class NotAllowed(Exception):  # noqa: N818 - reads as the sentence that it is
    """A rule said no."""

    def __init__(self, unmet: Iterable[Unmet]) -> None:
        self.unmet = tuple(unmet)
        super().__init__("; ".join(f"{u.code}: {u.detail}" for u in self.unmet))

    @property
    def code(self) -> str:
        """Return the code that stands for the whole: the first one, roles and states before all."""
        return self.unmet[0].code
