"""Pure: what a page says, the same words on every channel."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.escalate.pages import Page
from shared.clock import rfc3339

__all__ = ["LinkOf", "Message", "PageLinks", "message_of"]


@dataclass(frozen=True, slots=True)
class PageLinks:
    """What a page can be answered by. *severity*: only where it asks a person for that.

    *interactive*: our chat application takes clicks, so no link is needed for them.
    """

    acknowledge: str
    severity: str | None = None
    interactive: bool = False


LinkOf = Callable[[Page], PageLinks]
"""Returns the links of a page."""


@dataclass(frozen=True, slots=True)
class Message:
    """One page in words. ``id`` is the key by which the other side knows a repeat."""

    id: UUID
    incident_id: UUID
    team: str
    person: str | None
    severity: str | None
    subject: str
    created_at: datetime
    link: str
    severity_link: str | None = None
    interactive: bool = False

    @property
    def text(self) -> str:
        """Return all of it as plain text."""
        severity = f"Set the severity (works once): {self.severity_link}\n"
        return (
            f"{self.subject}\n\n"
            f"For: {self.person or self.team} ({self.team})\n"
            f"Severity: {self.severity or 'not set yet'}\n"
            f"Incident: {self.incident_id}\n"
            f"Paged at: {rfc3339(self.created_at)}\n"
            f"Page: {self.id}\n\n"
            f"Acknowledge (works once): {self.link}\n"
            f"{severity if self.severity_link else ''}"
        )

    def fields(self) -> dict[str, str]:
        """Return the facts beside the sentence, by name."""
        return {
            "Team": self.team,
            "For": self.person or self.team,
            "Severity": self.severity or "not set yet",
            "Page": str(self.id),
        }


def message_of(page: Page, link_of: LinkOf, now: datetime) -> Message:
    """Return what *page* says."""
    urgent = page.severity or ""  # other policies than those of a severity have names in words
    severity = urgent if urgent.startswith("SEV") else None
    links = link_of(page)
    return Message(
        id=page.id,
        incident_id=page.incident_id,
        team=page.team,
        person=page.person,
        severity=severity,
        subject=f"[{severity or 'page'}] {page.reason}",
        created_at=page.created_at or now,
        link=links.acknowledge,
        severity_link=links.severity,
        interactive=links.interactive,
    )
