"""The text of a correction, from its own versioned template."""

import hashlib
import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from uuid import UUID

from services.notify.message import MAX_TEXT, Content, environment, printable, standing_text
from services.notify.told import Told
from shared.clock import rfc3339

__all__ = ["REASONS", "render_correction", "standing_statement", "template_digest"]

REASONS = {
    "not_affected": "the tenant is not affected after all",
    "no_incident": "the verdict was taken back",
    "content": "what the notice said was corrected",
    "merged": "it goes on as another incident",
}
"""Why a notice was corrected, for the incident's log."""


@cache
def _source() -> str:
    path = files("services.notify").joinpath("templates").joinpath("customer_correction.txt.j2")
    return path.read_text("utf-8")


@cache
def template_digest() -> str:
    """Return the version of the template: the digest of its text."""
    return hashlib.sha256(_source().encode()).hexdigest()


def standing_statement(why: str, other_number: str = "") -> str:
    """Return what a correction says where nobody wrote something else."""
    said = standing_text()[f"correction_{why}"]
    return said.replace("{number}", other_number or "another number")


def render_correction(
    superseded: Told,
    *,
    why: str,
    statement: str,
    number: str,
    notification_id: UUID,
    operator_name: str,
    at: datetime,
) -> Content:
    """Return the correction of one message."""
    words = printable(statement)
    text = environment().from_string(_source()).render(
        tenant=printable(superseded.tenant),
        number=number,
        told_at=superseded.created_at.date().isoformat(),
        supersedes=str(superseded.id),
        statement=words,
        operator_name=operator_name,
    )  # fmt: skip
    body = {
        "type": "tocsin.customer_notice_correction.v1",
        "timestamp": rfc3339(at),
        "data": {
            "notification_id": str(notification_id),
            "supersedes": str(superseded.id),
            "incident": number,
            "tenant": superseded.tenant,
            "why": why,
            "statement": words,
        },
    }
    return Content(
        subject=f"Security incident {number}: correction of our notice",
        text=text[:MAX_TEXT],
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )
