"""Which ATT&CK techniques rules look for: per tactic, as a Navigator layer, and what is missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.detect.detection import attack_tactics, attack_techniques
from services.detect.rules.load import LoadReport

__all__ = ["TACTICS", "Coverage", "coverage_of", "navigator_layer", "techniques_of_layer"]

# Enterprise ATT&CK, in the order of its matrix.
TACTICS = (
    "reconnaissance", "resource-development", "initial-access", "execution", "persistence",
    "privilege-escalation", "defense-evasion", "credential-access", "discovery",
    "lateral-movement", "collection", "command-and-control", "exfiltration", "impact",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coverage:
    """Titles of rules by technique and by tactic, and of those without a technique."""

    techniques: Mapping[str, tuple[str, ...]]
    tactics: Mapping[str, tuple[str, ...]]
    untagged: tuple[str, ...]

    @property
    def tactics_missing(self) -> tuple[str, ...]:
        """Return the tactics that no rule looks for."""
        return tuple(tactic for tactic in TACTICS if tactic not in self.tactics)

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Return which of the techniques *wanted* no rule looks for; a sub-technique covers none
        but itself, a technique covers its sub-techniques."""
        return sorted(
            technique
            for technique in set(wanted)
            if technique not in self.techniques
            and technique.partition(".")[0] not in self.techniques
        )


def coverage_of(report: LoadReport) -> Coverage:
    """Return what the rules of *report* that raise detections look for."""
    techniques: dict[str, list[str]] = {}
    tactics: dict[str, list[str]] = {}
    untagged = []
    for rule in report.loaded:
        if rule.id in report.plan.silent:
            continue
        named = attack_techniques(rule.tags)
        for technique in named:
            techniques.setdefault(technique, []).append(rule.title)
        for tactic in attack_tactics(rule.tags):
            tactics.setdefault(tactic, []).append(rule.title)
        if not named:
            untagged.append(rule.title)
    return Coverage(
        {name: tuple(found) for name, found in sorted(techniques.items())},
        {name: tuple(found) for name, found in tactics.items()},
        tuple(untagged),
    )


def navigator_layer(coverage: Coverage, name: str) -> dict[str, Any]:
    """Return an ATT&CK Navigator layer (format 4.5): the score is the number of rules."""
    most = max((len(titles) for titles in coverage.techniques.values()), default=1)
    return {
        "name": name,
        "versions": {"layer": "4.5", "navigator": "5.1.0"},
        "domain": "enterprise-attack",
        "description": "Techniques that detection rules look for; the score counts the rules.",
        "gradient": {"colors": ["#e8f1fa", "#08519c"], "minValue": 0, "maxValue": most},
        "techniques": [
            {"techniqueID": technique, "score": len(titles), "comment": "\n".join(titles),
             "enabled": True}
            for technique, titles in coverage.techniques.items()
        ],
    }  # fmt: skip


def techniques_of_layer(layer: object) -> set[str]:
    """Return the enabled techniques of a Navigator layer; ValueError where it is none."""
    found = layer.get("techniques") if isinstance(layer, dict) else None
    if not isinstance(found, list):
        raise ValueError("not a Navigator layer: it has no list of techniques")  # noqa: TRY004
    return {
        str(item["techniqueID"])
        for item in found
        if isinstance(item, dict) and "techniqueID" in item and item.get("enabled", True)
    }
