"""The text of a correction, from its versioned template, in the language of what it corrects."""

import json
from datetime import datetime
from uuid import UUID

from services.notify.message import MAX_TEXT, Content, printable
from services.notify.told import Told
from services.notify.wording.catalogue import Catalogue, Kind
from services.notify.wording.sandbox import rendered
from shared.clock import rfc3339

__all__ = ["REASONS", "render_correction", "standing_statement", "translated"]

REASONS = {
    "not_affected": "the tenant is not affected after all",
    "no_incident": "the verdict was taken back",
    "content": "what the notice said was corrected",
    "merged": "it goes on as another incident",
}
"""Why a notice was corrected, for the incident's log."""
_NUMBER = "{number}"


def standing_statement(
    wording: Catalogue, why: str, other_number: str = "", locale: str | None = None
) -> str:
    """Return what a correction says where nobody wrote something else."""
    said = wording.choose(Kind.CORRECTION, "email", locale).standing[why]
    return said.replace(_NUMBER, other_number or "?")


def translated(wording: Catalogue, why: str, statement: str, locale: str) -> str:
    """Return a standing *statement* in *locale*; one that somebody wrote stays as it is."""
    if why not in REASONS or why == "content":
        return statement
    before, number, after = standing_statement(wording, why, _NUMBER).partition(_NUMBER)
    if not (statement.startswith(before) and statement.endswith(after)):
        return statement
    other = statement[len(before) : len(statement) - len(after)] if number else ""
    if statement != before + other + after:
        return statement
    return standing_statement(wording, why, other, locale)


def render_correction(
    superseded: Told,
    wording: Catalogue,
    *,
    why: str,
    statement: str,
    number: str,
    notification_id: UUID,
    operator_name: str,
    at: datetime,
) -> Content:
    """Return the correction of one message."""
    template = wording.choose(Kind.CORRECTION, superseded.channel, superseded.locale)
    words = printable(translated(wording, why, statement, superseded.locale))
    values = {
        "tenant_name": printable(superseded.tenant),
        "number": number,
        "told_at": superseded.created_at.date().isoformat(),
        "supersedes": str(superseded.id),
        "statement": words,
        "operator_name": operator_name,
    }
    body = {
        "type": "tocsin.customer_notice_correction.v1",
        "timestamp": rfc3339(at),
        "data": {
            "notification_id": str(notification_id),
            "supersedes": str(superseded.id),
            "incident": number,
            "tenant": superseded.tenant,
            "locale": template.locale,
            "why": why,
            "statement": words,
        },
    }
    return Content(
        subject=printable(rendered(template.subject, values)).replace("\n", " "),
        text=f"{rendered(template.text, values)[:MAX_TEXT]}\n",
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        template=template.ref,
    )
