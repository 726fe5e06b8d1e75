"""The closed vocabularies of an incident (domain reference §3.3, §3.5, §3.7, §7)."""

from enum import StrEnum

__all__ = [
    "ActionKind", "ActionStatus", "ActorKind", "AttackVector", "Classification", "Clock",
    "Decision", "ErasureScope", "FactKind", "FollowDependencies", "IndicatorRole",
    "IndicatorVerdict", "MemberKind",
    "Priority", "Relation", "Role", "RootCauseStatus", "Severity", "Standing", "State",
    "Visibility",
]  # fmt: skip


class State(StrEnum):
    """The main states of §3.3; UNOPENED is the dash in front of OpenIncident."""

    UNOPENED = "unopened"
    OPENED = "opened"
    ESCALATED = "escalated"
    INVESTIGATING = "investigating"
    CONFIRMED = "confirmed"
    CONTAINED = "contained"
    ERADICATED = "eradicated"
    RECOVERED = "recovered"
    IN_REVIEW = "in_review"
    CLOSED = "closed"
    FALSE_POSITIVE = "false_positive"
    MERGED = "merged"


class Role(StrEnum):
    """Who may give commands (§7), and SYSTEM: what Tocsin's own policies and services do."""

    SERVICE_TEAM = "service_team"
    SECURITY_RESPONSE = "security_response"
    INCIDENT_COMMUNICATIONS = "incident_communications"
    SUBJECT_MATTER_EXPERT = "subject_matter_expert"
    LEGAL = "legal"
    EXECUTIVE_INCIDENT_MANAGER = "executive_incident_manager"
    DUTY_MANAGER = "duty_manager"
    SYSTEM = "system"


class ActorKind(StrEnum):
    """What stands behind an actor's id."""

    PERSON = "person"
    SERVICE = "service"
    SYSTEM = "system"


class Severity(StrEnum):
    """SEV0 is the most severe; compare with `rank`, never by text."""

    SEV0 = "SEV0"
    SEV1 = "SEV1"
    SEV2 = "SEV2"
    SEV3 = "SEV3"
    SEV4 = "SEV4"

    @property
    def rank(self) -> int:
        """Return how severe it is: 4 for SEV0, 0 for SEV4."""
        return 4 - int(self.value[3])


class Priority(StrEnum):
    """P1 is the most urgent (§2.2)."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    P5 = "P5"


class MemberKind(StrEnum):
    """Kinds of v-team membership; the first three are mandatory (R25b)."""

    SECURITY_RESPONSE = "security_response"
    SERVICE_TEAM = "service_team"
    INCIDENT_COMMUNICATIONS = "incident_communications"
    SUBJECT_MATTER_EXPERT = "subject_matter_expert"
    LEGAL = "legal"
    OTHER = "other"


class IndicatorRole(StrEnum):
    """Whether an indicator led to the detection (R31c), or was found while investigating."""

    LED_TO_DETECTION = "led_to_detection"
    FOUND_LATER = "found_later"


class IndicatorVerdict(StrEnum):
    """What the v-team holds an indicator to say about the incident (R26a, R27)."""

    SUPPORTS = "supports"
    CONTRADICTS = "contradicts"
    INCONCLUSIVE = "inconclusive"


class ActionKind(StrEnum):
    """What an action is for (§3.7)."""

    CONTAINMENT = "containment"
    PROTECTION = "protection"
    INVESTIGATION = "investigation"
    ERADICATION = "eradication"
    RECOVERY = "recovery"
    COMMUNICATION = "communication"


class ActionStatus(StrEnum):
    """Where an action stands; the last three end it. KEPT: provisional, and it stays."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"
    KEPT = "kept"

    @property
    def is_open(self) -> bool:
        return self in {ActionStatus.OPEN, ActionStatus.IN_PROGRESS}


class RootCauseStatus(StrEnum):
    """The root-cause track (§3.3, R33a)."""

    OPEN = "open"
    HYPOTHESISED = "hypothesised"
    DETERMINED = "determined"
    ACCEPTED_UNKNOWN = "accepted_unknown"

    @property
    def is_settled(self) -> bool:
        return self in {RootCauseStatus.DETERMINED, RootCauseStatus.ACCEPTED_UNKNOWN}


class Classification(StrEnum):
    """The verdicts of R09b and §3.5."""

    TRUE_POSITIVE = "true_positive"
    BENIGN_POSITIVE = "benign_positive"
    FALSE_POSITIVE = "false_positive"
    DUPLICATE = "duplicate"
    UNDETERMINED = "undetermined"


class FollowDependencies(StrEnum):
    """How far a scope reaches into the services that depend on it (§5)."""

    NONE = "none"
    DIRECT = "direct"
    TRANSITIVE = "transitive"


class FactKind(StrEnum):
    """What other services did about an incident, kept in its timeline."""

    TEAM_PAGED = "team_paged"
    PAGE_ACKNOWLEDGED = "page_acknowledged"
    SME_ENGAGEMENT = "sme_engagement"
    SUPPORT_CASE_LINKED = "support_case_linked"
    OBLIGATION_IDENTIFIED = "obligation_identified"
    OBLIGATION_DECIDED = "obligation_decided"
    OBLIGATION_MET = "obligation_met"
    OBLIGATION_WAIVED = "obligation_waived"
    OBLIGATION_OVERDUE = "obligation_overdue"
    OBLIGATION_REOPENED = "obligation_reopened"
    NOTIFICATION_SENT = "notification_sent"
    NOTIFICATION_CORRECTED = "notification_corrected"
    NOTIFICATION_UNDELIVERABLE = "notification_undeliverable"


class Standing(StrEnum):
    """Where an obligation stands, as notify told it (I6, I7)."""

    UNDECIDED = "undecided"
    TRIGGERED = "triggered"
    OVERDUE = "overdue"
    NOT_REQUIRED = "not_required"
    MET = "met"
    WAIVED = "waived"

    @property
    def is_settled(self) -> bool:
        return self in {Standing.NOT_REQUIRED, Standing.MET, Standing.WAIVED}


class AttackVector(StrEnum):
    """The nine attack-vector categories of CISA and NIST (§3.5, R28)."""

    UNKNOWN = "unknown"
    ATTRITION = "attrition"
    WEB = "web"
    EMAIL_PHISHING = "email_phishing"
    EXTERNAL_REMOVABLE_MEDIA = "external_removable_media"
    IMPERSONATION_SPOOFING = "impersonation_spoofing"
    IMPROPER_USAGE = "improper_usage"
    LOSS_OR_THEFT_OF_EQUIPMENT = "loss_or_theft_of_equipment"
    OTHER = "other"


class Clock(StrEnum):
    """The instants from which duties run (I5)."""

    OCCURRED = "occurred"
    DETECTED = "detected"
    AWARE = "aware"
    DECLARED = "declared"
    CLASSIFIED_MAJOR = "classified_major"
    DETERMINED_MATERIAL = "determined_material"
    DETERMINED_NOTIFIABLE = "determined_notifiable"
    RANSOM_PAID = "ransom_paid"


class Relation(StrEnum):
    """How one incident stands to another (R31d), read from this one to the other."""

    DUPLICATE_OF = "duplicate_of"
    PARENT_OF = "parent_of"
    SAME_ACTOR = "same_actor"
    SAME_VECTOR = "same_vector"
    SAME_ASSET = "same_asset"
    CAUSED_BY = "caused_by"

    @property
    def seen_from_the_other(self) -> str:
        """Return what the relation is called at its other end."""
        names = {
            Relation.DUPLICATE_OF: "has_duplicate",
            Relation.PARENT_OF: "child_of",
            Relation.CAUSED_BY: "cause_of",
        }
        return names.get(self, self.value)

    @property
    def is_one_way(self) -> bool:
        return self.seen_from_the_other != self.value


class Decision(StrEnum):
    """What the v-team decides about a recommendation (R31g)."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class ErasureScope(StrEnum):
    """Of what everything personal was erased: of an incident, or of a person in all of them."""

    INCIDENT = "incident"
    PERSON = "person"


class Visibility(StrEnum):
    """Who may read a note: the team, or only who is bound by legal privilege (§7)."""

    TEAM = "team"
    LEGAL_PRIVILEGED = "legal_privileged"
