"""Pure: the form of an obligation: what is asked, what is filled and by what, what is missing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.notify.obligations.identify import Obligation
from services.notify.obligations.lifecycle import Standing
from services.notify.obligations.regimes import Regime
from services.notify.obligations.series import series_of
from services.notify.wording.catalogue import Catalogue, Kind
from services.notify.wording.facts import Known, fill
from services.notify.wording.sandbox import rendered
from shared.clock import rfc3339
from shared.contracts.cases import ERASED

__all__ = ["DELAY", "canonical", "digest", "form", "suggested"]

DELAY = "reasons_for_delay"
"""Asked for only where a notice is late and the regime wants reasons."""


def suggested(names: tuple[str, ...], known: Known, catalogue: Catalogue) -> dict[str, Any]:
    """Return what the facts can say of *names*; those that they cannot are absent."""
    found = {name: fill(catalogue.sources(name), known) for name in names}
    return {name: one for name, one in found.items() if one is not None and one.value != ERASED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a form is about, besides the obligation itself."""

    obligation_id: str
    incident_id: str
    operator_name: str
    known: Known


def form(
    subject: Subject,
    obligation: Obligation,
    standing: Standing,
    regime: Regime | None,
    catalogue: Catalogue,
) -> dict[str, Any]:
    """Return the form as JSON: the same input gives the same document, to the byte.

    What was drafted counts; before there is a draft, what the facts can say is shown.
    """
    template = catalogue.choose(Kind.FORM, "pdf", "en", [obligation.regime])
    phase, title = series_of(obligation.phase), regime.title if regime else obligation.regime
    heading: dict[str, Any] = {
        "number": subject.known.number,
        "operator_name": subject.operator_name,
        "regime_title": title,
        "phase": _words(phase),
        "period": obligation.period,
        "recipient": _words(obligation.recipient),
        "source": obligation.source,
        "due_at": rfc3339(standing.due_at),
        "clock": _words(obligation.clock),
        "clock_at": rfc3339(obligation.clock_at),
    }
    fields = _fields(subject.known, obligation, standing, catalogue)
    return {
        "type": "tocsin.regulator_form.v1",
        "template": _template(catalogue, obligation),
        "title": rendered(template.subject, heading),
        "heading": rendered(template.text, heading),
        "obligation_id": subject.obligation_id,
        "incident_id": subject.incident_id,
        "incident": subject.known.number,
        "operator": subject.operator_name,
        "regime": obligation.regime,
        "regime_version": obligation.regime_version,
        "source": obligation.source,
        "phase": phase,
        "period": obligation.period,
        "recipient": obligation.recipient,
        "tenant": obligation.tenant,
        "clock": obligation.clock,
        "clock_at": rfc3339(obligation.clock_at),
        "due_at": rfc3339(standing.due_at),
        "due_is_internal_target": obligation.internal_target,
        "stage": standing.stage.value,
        "drafted_by": standing.author,
        "approved_by": standing.approved_by,
        "fields": fields,
        "missing": [one["name"] for one in fields if one["required"] and one["value"] is None],
    }


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return *document* as the bytes that its digest is of."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def digest(content: bytes) -> str:
    """Return the SHA-256 of *content* in hex."""
    return hashlib.sha256(content).hexdigest()


def _fields(
    known: Known, obligation: Obligation, standing: Standing, catalogue: Catalogue
) -> list[dict[str, Any]]:
    names = list(obligation.content)
    if obligation.late_reasons_required and DELAY not in names:
        names.append(DELAY)
    # What somebody wrote beyond what is asked is part of what was approved.
    names += [name for name in standing.content if name not in names]
    facts = {} if standing.author else suggested(obligation.content, known, catalogue)
    found = []
    for name in names:
        value, by = standing.content.get(name), standing.filled.get(name)
        if value is not None and by is None:
            by = f"{standing.author} (draft)"
        if value is None and name in facts:
            value, by = facts[name].value, facts[name].by
        found.append(
            {
                "name": name,
                "label": catalogue.label(name),
                "asks": catalogue.asked(obligation.regime, name),
                "required": name in obligation.content,
                "value": value,
                "filled_by": by,
            }
        )
    return found


def _template(catalogue: Catalogue, obligation: Obligation) -> dict[str, str]:
    """Return which words the form is of: its heading and all that is asked, in one digest."""
    template = catalogue.choose(Kind.FORM, "pdf", "en", [obligation.regime])
    asked = {
        name: [catalogue.label(name), catalogue.asked(obligation.regime, name)]
        for name in (*obligation.content, DELAY)
    }
    words = {"template": template.document(), "asked": asked}
    shown = template.ref.shown()
    return {**shown, "digest": digest(canonical(words))}


def _words(name: str) -> str:
    return name.replace("_", " ")
