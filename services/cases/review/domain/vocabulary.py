"""The closed vocabularies of a post-incident review (domain reference §3.7, §8)."""

from enum import StrEnum

__all__ = ["CODES", "ItemTarget", "LessonCategory", "ReviewRole", "ReviewState"]


class ReviewState(StrEnum):
    """UNKNOWN is the dash in front of the first freezing of the timeline."""

    UNKNOWN = "unknown"
    OPEN = "open"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    WAIVED = "waived"


class ReviewRole(StrEnum):
    """Who may do something in a review (§7), and SYSTEM, which opens it."""

    SERVICE_TEAM = "service_team"
    SECURITY_RESPONSE = "security_response"
    INCIDENT_COMMUNICATIONS = "incident_communications"
    SUBJECT_MATTER_EXPERT = "subject_matter_expert"
    DETECTION_ENGINEER = "detection_engineer"
    LEGAL = "legal"
    EXECUTIVE_INCIDENT_MANAGER = "executive_incident_manager"
    SYSTEM = "system"


class LessonCategory(StrEnum):
    """What went wrong, or was not known before: five kinds of lapse, and a new vector."""

    TECHNICAL_LAPSE = "technical_lapse"
    PROCEDURAL_FAILURE = "procedural_failure"
    MANUAL_ERROR = "manual_error"
    PROCESS_FLAW = "process_flaw"
    COMMUNICATION = "communication"
    NEW_VECTOR = "new_vector"

    @property
    def is_of_process(self) -> bool:
        """Tell whether it is a failure of process: those are tracked apart (§8)."""
        return self in {LessonCategory.PROCEDURAL_FAILURE, LessonCategory.PROCESS_FLAW}


class ItemTarget(StrEnum):
    """What an improvement item changes."""

    RULE = "rule"
    LOGGING_REQUIREMENT = "logging_requirement"
    PLAYBOOK = "playbook"
    POLICY = "policy"
    PRODUCT_FIX = "product_fix"


CODES = {
    "role_missing": "the actor holds none of the roles that may do this",
    "wrong_state": "the review is not in a state where this can be done",
    "reason_missing": "a reason has to be given in writing",
    "text_missing": "a text has to be given",
    "summary_missing": "no sequence of events and technical summary have been recorded",
    "evaluation_missing": "nobody has evaluated the response for sufficiency and completeness",
    "lessons_missing": "no lesson has been recorded, and no reason given why there is none",
    "lesson_without_item": "a lesson has neither an improvement item nor a reason for none",
    "lesson_unknown": "the review has no such lesson",
    "vector_missing": "a new vector is described by an attack-vector category or a technique",
    "technique_malformed": "an ATT&CK technique reads T1110 or T1110.003",
    "action_unknown": "the incident had no such open action when the timeline was frozen",
    "action_covered": "another improvement item stands for that action",
    "item_unknown": "the review has no such improvement item",
    "item_done": "the improvement item is done",
    "owner_missing": "an improvement item has an owner",
    "due_in_past": "an improvement item is due at an instant that is still to come",
    "reference_missing": "where the change can be seen has to be named: a ticket, a commit, …",
    "approver_is_author": "who wrote or submitted the review cannot sign it off",
    "waiver_by_starter": "who started the review cannot waive it",
}
"""Code of an unmet condition → its sentence."""
