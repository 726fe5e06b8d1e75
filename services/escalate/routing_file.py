"""The routing rules of §6, read from a file: a rule that could never match is refused."""

import re
from dataclasses import dataclass
from pathlib import Path

from services.escalate.file_spots import Spot, read_spot, read_text
from services.escalate.oncall.roster import COMPONENTS
from services.escalate.oncall.roster_file import KIND

__all__ = ["CRITERIA", "SHIPPED_ROUTING", "Alternative", "Engage", "RoutingRule", "load_routing",
           "parse_routing"]  # fmt: skip

SHIPPED_ROUTING = Path(__file__).with_name("routing.yml")
CRITERIA = (
    "privacy", "impact", "scope", "region", "service", "details", "industry_regulation",
)  # fmt: skip
SOURCES = (
    "rule", "trend", "anomaly", "threat_intel", "customer_case", "employee_report", "partner",
    "external_researcher", "law_enforcement",
)  # fmt: skip
_CLOSED = {
    "severity": ("SEV0", "SEV1", "SEV2", "SEV3", "SEV4"),
    "source_kind": SOURCES,
    "component": COMPONENTS,
    "threat_intel_match": ("true", "false"),
    "own_product_vulnerability": ("true", "false"),
    "platform_component": ("true", "false"),
    "legal_hold": ("true", "false"),
    "shortest_regime": ("within_72h", "longer"),
}
FIELDS = (*CRITERIA, *_CLOSED, "actor", "tenant_industry")
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")


@dataclass(frozen=True, slots=True)
class Test:
    """The field has one of the values; with *negated*, none of them."""

    field: str
    values: frozenset[str]
    negated: bool


Alternative = tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Engage:
    """A kind of team (or owner, service_teams); *competent*: only with who knows the component."""

    kind: str
    required: bool
    competent: bool


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Where any alternative holds, or there is none, all of *engage* are engaged."""

    id: str
    when: tuple[Alternative, ...]
    engage: tuple[Engage, ...]


def load_routing(path: Path = SHIPPED_ROUTING) -> tuple[RoutingRule, ...]:
    """Return the rules in *path*; FileError names the line that is wrong and why."""
    return parse_routing(read_text(path), path.name)


def parse_routing(text: str, source: str = "routing") -> tuple[RoutingRule, ...]:
    """Return the rules in *text*; FileError names the line that is wrong and why.

    Some rule has to hold always and engage the owner, or an escalation would have none (R08).
    """
    top = read_spot(text, source).table(("rules",))
    rules = tuple(_rule(name, spot) for name, spot in top["rules"].entries().items())
    if not any(not r.when and any(e.kind == "owner" for e in r.engage) for r in rules):
        raise top["rules"].refusal("no rule without `when` engages owner, as each escalation must")
    return rules


def _rule(name: str, spot: Spot) -> RoutingRule:
    if not _ID.fullmatch(name):
        raise spot.refusal("the id of a rule is a letter, then letters, digits, - and _")
    parts = spot.table(("engage",), ("when",))
    alternatives: list[Alternative] = []
    if "when" in parts:
        for entry in parts["when"].items():
            alternative = tuple(_test(field, s) for field, s in entry.table((), FIELDS).items())
            if not alternative:
                raise entry.refusal("names no field, so the others would never matter")
            if alternative in alternatives:
                raise entry.refusal("stands twice")
            alternatives.append(alternative)
        if not alternatives:
            raise parts["when"].refusal("has no alternative, so the rule would never match")
    engage = tuple(_engage(entry) for entry in parts["engage"].items())
    if not engage:
        raise parts["engage"].refusal("engages nobody")
    return RoutingRule(name, tuple(alternatives), engage)


def _test(field: str, spot: Spot) -> Test:
    negated = spot.is_table()
    listed = spot.table(("not",))["not"] if negated else spot
    known = _CLOSED.get(field)
    values = frozenset(s.one_of(known) if known else s.text() for s in listed.texts())
    if not values:
        raise spot.refusal("lists no value")
    if negated and known and values >= set(known):
        raise spot.refusal("leaves no value, so it would never hold")
    return Test(field, values, negated)


def _engage(spot: Spot) -> Engage:
    if not spot.is_table():
        return Engage(_kind(spot), required=False, competent=False)
    parts = spot.table(("kind",), ("required", "competent"))
    flags = {key: parts[key].flag() if key in parts else False for key in ("required", "competent")}
    return Engage(_kind(parts["kind"]), **flags)


def _kind(spot: Spot) -> str:
    kind = spot.text()
    if not KIND.fullmatch(kind):
        raise spot.refusal(f"{kind!r} is not a word of small letters, digits and _")
    return kind
