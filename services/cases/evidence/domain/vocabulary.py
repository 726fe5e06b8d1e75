"""The closed vocabularies of evidence (domain reference §3.7, §7)."""

from datetime import timedelta
from enum import StrEnum

__all__ = [
    "CODES", "FIRST_RANK", "LAST_RANK", "MINIMUM", "EvidenceKind", "EvidenceRole", "EvidenceState",
    "RetentionClass",
]  # fmt: skip

FIRST_RANK, LAST_RANK = 1, 7  # order of volatility (RFC 3227): 1 registers … 7 archival media


class EvidenceKind(StrEnum):
    """What an item is."""

    LOG_EXTRACT = "log_extract"
    DISK_IMAGE = "disk_image"
    MEMORY_DUMP = "memory_dump"
    NETWORK_CAPTURE = "network_capture"
    CLOUD_SNAPSHOT = "cloud_snapshot"
    EMAIL = "email"
    SCREENSHOT = "screenshot"
    DOCUMENT = "document"
    MALWARE_SAMPLE = "malware_sample"
    PHYSICAL_DEVICE = "physical_device"
    STATEMENT = "statement"


class EvidenceState(StrEnum):
    """UNKNOWN is the dash in front of the registration; bytes exist from COLLECTED on."""

    UNKNOWN = "unknown"
    REGISTERED = "registered"
    COLLECTED = "collected"
    SEALED = "sealed"
    RELEASED = "released"
    DISPOSED = "disposed"


class EvidenceRole(StrEnum):
    """Who may do something with evidence (§7), and SYSTEM: the scrub and the janitor."""

    EVIDENCE_CUSTODIAN = "evidence_custodian"
    SECURITY_RESPONSE = "security_response"
    LEGAL = "legal"
    AUDITOR = "auditor"
    SYSTEM = "system"


class RetentionClass(StrEnum):
    """How long an item is owed to somebody (§7 e)."""

    EVIDENCE = "evidence"
    REGULATORY = "regulatory"
    LOG = "log"
    OTHER = "other"


MINIMUM = {
    RetentionClass.EVIDENCE: timedelta(days=7 * 365),
    RetentionClass.REGULATORY: timedelta(days=5 * 365),
    RetentionClass.LOG: timedelta(days=180),
    RetentionClass.OTHER: timedelta(0),
}
"""Least time from the acquisition to the end of the retention."""

CODES = {
    "role_missing": "the actor holds none of the roles that may do this",
    "wrong_state": "the item is not in a state where this can be done",
    "integrity_failed": "the item is frozen: its bytes are not those that were collected (I9)",
    "already_collected": "the item has its bytes, and they never change (I9)",
    "collector_missing": "who collected it has to be named (R30b)",
    "tool_missing": "the tool and its version have to be named (R30b)",
    "method_missing": "the method of the collection has to be named (R30b)",
    "source_missing": "where it was collected has to be named (R30b)",
    "volatility_out_of_range": "the rank in the order of volatility is 1 to 7 (R30b)",
    "acquired_in_future": "it cannot have been acquired later than now",
    "not_a_digest": "a SHA-256 is 64 hexadecimal digits in lower case",
    "digest_mismatch": "the bytes are not those that were declared",
    "purpose_missing": "every custody event names its purpose (I9)",
    "not_custodian": "custody passes from the person who has it",
    "same_custodian": "custody passes to another person",
    "copy_differs": "an analysis is of a copy whose digest is that of the item",
    "reason_missing": "a reason has to be given in writing",
    "under_hold": "the item is under legal hold (R30c)",
    "hold_unknown": "there is no such hold on the item",
    "hold_exists": "a hold of that name is on the item already",
    "retention_missing": "no retention has been set (R30c)",
    "retention_too_short": "the class of retention asks for a later end (§7)",
    "retention_running": "the retention has not ended yet (R30c)",
    "disposal_not_requested": "nobody has requested the disposal",
    "disposal_requested": "the disposal is requested already",
    "not_lost": "nothing is lost: no check has found the bytes other than they were collected",
    "loss_not_requested": "the custodian has not said that the bytes are lost for good",
    "loss_requested": "the custodian has said so already",
    "loss_accepted": "the loss is accepted already",
    "approver_is_requester": "who requested it cannot approve it (two persons)",
}
"""Code of an unmet condition → its sentence."""
