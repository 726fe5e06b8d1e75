"""Pure: what the facts of an incident can say where nobody wrote something, and which fact it was.

Nothing is made up: a source that is not known says nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.notify.obligations.deadlines import z
from services.notify.obligations.regimes import CLOCKS
from shared.contracts.cases import ERASED

__all__ = ["SOURCES", "Filled", "Known", "fill"]


@dataclass(frozen=True, slots=True)
class Filled:
    """A value, and what it came from."""

    value: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What notify knows that can stand in a notice or a form."""

    number: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """As cases told them: summary, potential impact, severity, title, inputs."""
    clocks: Mapping[str, datetime] = field(default_factory=dict)
    stated: Mapping[str, Any] = field(default_factory=dict)
    """What legal stated."""
    affected: str = ""
    scope: str = ""
    contact: str = ""
    privacy_contact: str = ""


def fill(sources: Iterable[str], known: Known) -> Filled | None:
    """Return what *sources* say together; None where none of them is known.

    ERASED where one of them was erased: the rest alone would say something else.
    """
    said = [(SOURCES[source](known), source) for source in sources]
    found = [(words.strip(), source) for words, source in said if words and words.strip()]
    if not found:
        return None
    erased = any(words == ERASED for words, _ in found)
    lines = ERASED if erased else "\n".join(words for words, _ in found)
    return Filled(lines, ", ".join(_ORIGIN.get(source, "stated fact") + f" {source}"
                                   for _, source in found))  # fmt: skip


def _text(name: str) -> Callable[[Known], str]:
    return lambda known: str(known.facts.get(name) or "")


def _instants(*names: str) -> Callable[[Known], str]:
    def say(known: Known) -> str:
        have = [(name, known.clocks[name]) for name in names if name in known.clocks]
        return "\n".join(f"{name.replace('_', ' ')}: {z(at)}" for name, at in have)

    return say


def _fact(name: str, label: str) -> Callable[[Known], str]:
    def say(known: Known) -> str:
        value = known.stated.get(name, known.facts.get("inputs", {}).get(name))
        if value is None or isinstance(value, list | dict):
            return ""
        words = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        return f"{label}: {words}"

    return say


SOURCES: Mapping[str, Callable[[Known], str]] = {
    "number": lambda known: known.number,
    "title": _text("title"),
    "summary": _text("summary"),
    "potential_impact": _text("potential_impact"),
    "severity": _text("severity"),
    "times": _instants(*CLOCKS),
    "detection_times": _instants("detected", "classified_major"),
    "affected_customers": lambda known: known.affected,
    "scope": lambda known: known.scope,
    "contact": lambda known: known.contact,
    "privacy_contact": lambda known: known.privacy_contact,
    "malicious": _fact("malicious", "Suspected to be malicious"),
    "persons": _fact("persons", "Persons concerned"),
    "persons_in_state": _fact("persons_in_state", "Residents concerned"),
    "member_states": _fact("member_states", "Member states concerned (number)"),
    "clients_affected": _fact("clients_affected", "Clients affected"),
    "duration_minutes": _fact("duration_minutes", "Duration in minutes"),
    "cost_eur": _fact("cost_eur", "Costs in euro"),
    "ransom_paid": _fact("ransom_paid", "A ransom was paid"),
    "special_category": _fact("special_category", "Special categories of data"),
}
"""Each by its name in the files, in a fixed order."""

_ORIGIN: Mapping[str, str] = {
    **dict.fromkeys(("number", "title", "summary", "potential_impact", "severity"), "incident"),
    **dict.fromkeys(("times", "detection_times"), "clocks"),
    "affected_customers": "affected list",
    "scope": "scope",
    **dict.fromkeys(("contact", "privacy_contact"), "operator's settings"),
}
