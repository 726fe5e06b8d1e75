"""The customer notice: one text from one versioned template, as e-mail and as webhook body.

Required are the contents that customer notices have as a minimum (§4.2): what happened, the effect
on the customer's data, what was done, what to do, when the next word comes (I8).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.clock import rfc3339
from shared.yaml_lines import fields, read

__all__ = [
    "MAX_TEXT", "REQUIRED", "Content", "MissingFieldsError", "Subject", "complete", "environment",
    "missing", "printable", "render", "standing_text", "template_digest",
]  # fmt: skip

REQUIRED = (
    "description",
    "effect_on_customer_data",
    "actions_taken",
    "suggested_actions",
    "next_update",
)
_TEMPLATES = files("services.notify").joinpath("templates")
MAX_TEXT = 256 * 1024


class MissingFieldsError(Exception):
    """The notice lacks required content; nothing may be sent. ``fields`` names it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"the notice has no {', '.join(names)}")
        self.fields = names


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The tenant that a notice is for, and what of it is affected; nothing of any other tenant."""

    tenant: str
    display_name: str
    confidence: str
    services: tuple[str, ...]
    regions: tuple[str, ...]
    data_classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """A rendered notice; stored, so that every attempt sends the same."""

    subject: str
    text: str
    body: str


@cache
def _source() -> str:
    return _TEMPLATES.joinpath("customer_notice.txt.j2").read_text("utf-8")


@cache
def template_digest() -> str:
    """Return the version of the template: the digest of its text."""
    return hashlib.sha256(_source().encode()).hexdigest()


@cache
def standing_text() -> Mapping[str, str]:
    """Return what a notice says where nobody wrote something for the incident."""
    text = _TEMPLATES.joinpath("standing_text.yml").read_text("utf-8")
    notice = ("actions_taken", "actions_taken_contained", "suggested_actions", "next_update")
    corrections = ("not_affected", "no_incident", "merged")
    keys = (*notice, *(f"correction_{why}" for why in corrections))
    given = fields(read(text), "standing text", ("version", *keys))
    return {key: given.text_or_none(key) or "" for key in keys}


def complete(
    facts: Mapping[str, Any],
    written: Mapping[str, str],
    standing: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the fields of the notice: as written, else from the facts, else the standing text."""
    standing = standing_text() if standing is None else standing
    contained = "actions_taken_contained" if facts.get("contained_at") else "actions_taken"
    defaults = {
        "description": facts.get("summary"),
        "effect_on_customer_data": facts.get("potential_impact"),
        "actions_taken": standing.get(contained),
        "suggested_actions": standing.get("suggested_actions"),
        "next_update": standing.get("next_update"),
    }
    return {name: (written.get(name) or defaults[name] or "").strip() for name in REQUIRED}


def missing(notice: Mapping[str, str]) -> tuple[str, ...]:
    """Return the required fields that *notice* does not have."""
    return tuple(name for name in REQUIRED if not notice.get(name, "").strip())


@cache
def environment() -> ImmutableSandboxedEnvironment:
    """Return where templates run: no attribute of Python's, nothing to change (§5.3)."""
    # Plain text, so nothing is escaped; the sandbox is for the day operators bring templates.
    made = ImmutableSandboxedEnvironment(
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.clear()  # a notice has placeholders; it needs no function of Jinja's
    return made


@cache
def _template() -> Any:
    return environment().from_string(_source())


def render(
    notice: Mapping[str, str],
    subject: Subject,
    *,
    number: str,
    notification_id: UUID,
    operator_name: str,
    at: datetime,
) -> Content:
    """Return the notice for one tenant; MissingFieldsError when required content is absent."""
    if names := missing(notice):
        raise MissingFieldsError(names)
    shown = {
        "services": list(subject.services),
        "regions": list(subject.regions),
        "data_classes": list(subject.data_classes),
        "confidence": subject.confidence,
    }
    words = {name: printable(notice[name]) for name in REQUIRED}
    text = _template().render(
        **words,
        **shown,
        tenant_name=subject.display_name,
        number=number,
        operator_name=operator_name,
    )[:MAX_TEXT]
    body = {
        "type": "tocsin.customer_notice.v1",
        "timestamp": rfc3339(at),
        "data": {
            "notification_id": str(notification_id),
            "incident": number,
            "tenant": subject.tenant,
            **words,
            **shown,
        },
    }
    return Content(
        subject=f"Security incident {number}: notice to {subject.display_name}",
        text=text,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )


def printable(text: str) -> str:
    """Return *text* without control and direction characters (§5.3): they only ever mislead."""
    kept = (c if c.isprintable() or c == "\n" else " " for c in text.replace("\r\n", "\n"))
    return "".join(kept).strip()
