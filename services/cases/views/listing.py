"""The row of an incident in the queue: what a responder needs to choose what to open."""

from services.cases.views import Document

__all__ = ["summarise"]


def summarise(document: Document) -> Document:
    """Return the short form of an incident's *document*."""
    severity, proposal = document["severity"], document["severity_proposal"]
    priority, escalation = document["priority"], document["escalation"]
    return {
        **{
            name: document[name]
            for name in (
                "incident_id", "number", "title", "state", "version", "opened_at", "updated_at",
                "detected_at", "services", "regions", "detection_count",
                "merged_into",
            )
        },
        "severity": severity["level"] if severity else None,
        "proposed_severity": proposal["level"] if proposal else None,
        "priority": priority["priority"] if priority else None,
        "owning_team": escalation["owning_team"] if escalation else None,
    }  # fmt: skip
