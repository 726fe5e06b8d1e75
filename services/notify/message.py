"""The customer notice: one text from one versioned template, as e-mail and as webhook body.

Required are the contents that customer notices have as a minimum (§4.2), and whatever else a regime
or a contract asks of the notice to that tenant (I8).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.notify.inventory import NOTICE
from services.notify.wording.catalogue import Catalogue, Template, TemplateRef, locales
from services.notify.wording.facts import Known, fill
from services.notify.wording.sandbox import rendered
from shared.clock import rfc3339
from shared.contracts.cases import ERASED

__all__ = [
    "MAX_TEXT", "REQUIRED", "Content", "Draft", "MissingFieldsError", "Subject", "compose",
    "printable", "render",
]  # fmt: skip

REQUIRED = NOTICE
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a notice says under each required name, and who or what said it."""

    template: Template
    values: Mapping[str, str]
    filled_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name, words in self.values.items() if not words)

    @property
    def erased(self) -> tuple[str, ...]:
        return tuple(name for name, words in self.values.items() if words == ERASED)


@dataclass(frozen=True, slots=True)
class Content:
    """A rendered message; stored, so that every attempt sends the same.

    ``covers`` names what it says, of all that regimes ask for; None: that was not recorded.
    """

    subject: str
    text: str
    body: str
    template: TemplateRef
    covers: tuple[str, ...] | None = None


def compose(
    names: Sequence[str],
    template: Template,
    catalogue: Catalogue,
    known: Known,
    written: Mapping[str, str] | None = None,
    author: str = "",
) -> Draft:
    """Return the notice of *names*: as written, else from the facts, else the standing text.

    What was written for the template's language (``name@de``) goes before what was written for all.
    """
    written = written or {}
    spoken = [f"@{locale}" for locale in locales(template.locale) if locale != "en"]
    values: dict[str, str] = {}
    filled_by: dict[str, str] = {}
    for name in dict.fromkeys(names):
        own = [w.strip() for end in (*spoken, "") if (w := written.get(name + end)) and w.strip()]
        if own:
            values[name], filled_by[name] = own[0], f"{author} (written)"
        elif facts := fill(catalogue.sources(name), known):
            values[name], filled_by[name] = facts.value, facts.by
        elif words := _standing(name, template, known):
            values[name] = words
            filled_by[name] = f"standing text of {template.id} {template.version}"
        else:
            values[name] = ""
    return Draft(template=template, values=values, filled_by=filled_by)


def render(
    draft: Draft,
    subject: Subject,
    catalogue: Catalogue,
    *,
    number: str,
    notification_id: UUID,
    operator_name: str,
    at: datetime,
) -> Content:
    """Return the notice for one tenant; MissingFieldsError when required content is absent."""
    if absent := (*draft.missing, *draft.erased):
        raise MissingFieldsError(absent)
    template = draft.template
    shown = {
        "services": list(subject.services),
        "regions": list(subject.regions),
        "data_classes": list(subject.data_classes),
        "confidence": subject.confidence,
    }
    words = {name: printable(text) for name, text in draft.values.items()}
    further = [
        {"label": catalogue.label(name, template.locale), "text": text}
        for name, text in words.items()
        if name not in REQUIRED and name not in template.requires
    ]
    values = {
        **words,
        **shown,
        "further": further,
        "tenant_name": subject.display_name,
        "number": number,
        "operator_name": operator_name,
    }
    text = rendered(template.text, values)[:MAX_TEXT]
    body = {
        "type": "tocsin.customer_notice.v1",
        "timestamp": rfc3339(at),
        "data": {
            "notification_id": str(notification_id),
            "incident": number,
            "tenant": subject.tenant,
            "locale": template.locale,
            **{name: words[name] for name in REQUIRED},
            "further": {name: text for name, text in words.items() if name not in REQUIRED},
            **shown,
        },
    }
    return Content(
        subject=printable(rendered(template.subject, values)).replace("\n", " "),
        text=f"{text}\n",
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        template=template.ref,
        covers=tuple(words),
    )


def printable(text: str) -> str:
    """Return *text* without control and direction characters (§5.3): they only ever mislead."""
    kept = (c if c.isprintable() or c == "\n" else " " for c in text.replace("\r\n", "\n"))
    return "".join(kept).strip()


def _standing(name: str, template: Template, known: Known) -> str:
    if name == "actions_taken" and known.facts.get("contained_at"):
        name = "actions_taken_contained"
    return template.standing.get(name, "").strip()
