"""An incident as integrators know it: no more than the messages of the CASES stream tell.

Whoever starts from such a row and applies the messages after it has what the API has (the table
of docs/operations.md, "Integrators", says which message changes what).
"""

from services.cases.views import Document

__all__ = ["public"]


def public(document: Document) -> Document:
    """Return the row of an incident's *document*."""
    severity, escalation = document["severity"], document["escalation"]
    verdict, closure, scope = document["verdict"], document["closure"], document["scope"]
    clocks = document["clocks"]
    classification = closure["disposition"] if closure else None
    if verdict and verdict["outcome"] == "dismissed":
        classification = verdict["classification"]
    return {
        **{
            name: document[name]
            for name in (
                "incident_id", "number", "version", "position", "title", "state", "services",
                "regions", "opened_at", "updated_at", "merged_into",
            )
        },
        "source_kind": document["source"]["kind"],
        "severity": severity["level"] if severity else None,
        "owning_team": escalation["owning_team"] if escalation else None,
        "scope_version": scope["version"] if scope else 0,
        "classification": classification,
        "detected_at": clocks["detected"]["instant"],
        "aware_at": clocks["aware"]["instant"] if "aware" in clocks else None,
    }  # fmt: skip
