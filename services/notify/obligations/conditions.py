"""Pure: conditions on facts, judged true, false or not known, each with its reason (§4.1, I7)."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import assert_never

__all__ = [
    "FACTS", "AllOf", "AnyOf", "Classifier", "Condition", "Fact", "Facts", "Part", "Test",
    "derived", "judge", "known",
]  # fmt: skip

Fact = bool | int | str | frozenset[str]
Facts = Mapping[str, Fact]

# What a condition may ask for, so that a misspelt one is refused at load and not for ever unknown.
FACTS: Mapping[str, str] = {
    "capacity": "set",
    "established_in": "set",
    "data_subject_regions": "set",
    "industry": "set",
    "entity_class": "set",
    "service_kind": "set",
    "personal_data": "flag",
    "special_category": "flag",
    "unintelligible": "flag",
    "risk_unlikely": "flag",
    "high_risk": "flag",
    "significant_harm": "flag",
    "improper_purpose": "flag",
    "property_damage_risk": "flag",
    "protected_health_information": "flag",
    "payment_card_data": "flag",
    "significant_incident": "flag",
    "major_incident": "flag",
    "material": "flag",
    "malicious": "flag",
    "exploited_vulnerability": "flag",
    "severe_incident": "flag",
    "ransom_paid": "flag",
    "scheduled_maintenance": "flag",
    "physical_access": "flag",
    "data_loss_risk": "flag",
    "critical_services_affected": "flag",
    "reportable_incident_kind": "flag",
    "covered_agency_data": "flag",
    "critical_infrastructure": "flag",
    "control_weakness": "flag",
    "relatively_serious": "flag",
    "persons": "number",
    "persons_in_state": "number",
    "clients_affected": "number",
    "clients_affected_percent": "number",
    "counterparts_affected_percent": "number",
    "transactions_affected_percent": "number",
    "duration_minutes": "number",
    "critical_downtime_minutes": "number",
    "full_outage_minutes": "number",
    "limited_minutes": "number",
    "union_users_limited": "number",
    "union_users_limited_percent": "number",
    "union_users_compromised": "number",
    "union_users_compromised_percent": "number",
    "member_states": "number",
    "cost_eur": "number",
    "annual_turnover_aud": "number",
}


@dataclass(frozen=True, slots=True)
class Test:
    """One fact held against a value: ``is``, ``in``, ``overlaps``, ``at_least``, ``more_than``."""

    __test__ = False  # not a test case of pytest's

    fact: str
    op: str
    value: Fact


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple["Part", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least *least* parts hold."""

    parts: tuple["Part", ...]
    least: int = 1


Part = Test | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Classifier:
    """Derives a fact such as ``significant_incident`` from measurable ones, where it *applies*."""

    gives: str
    applies: Part
    when: Part


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of a trigger as it was judged; ``holds`` is None where it is not known."""

    what: str
    holds: bool | None
    because: str


def judge(part: Part, facts: Facts) -> Condition:
    """Return whether *part* holds; unknown only where what is known does not settle it (Kleene)."""
    match part:
        case Test():
            return _test(part, facts)
        case AllOf(parts):
            judged = [judge(p, facts) for p in parts]
            return Condition(" and ".join(c.what for c in judged), _all(judged), _because(judged))
        case AnyOf(parts, least):
            judged = [judge(p, facts) for p in parts]
            sure = sum(c.holds is True for c in judged)
            possible = sum(c.holds is not False for c in judged)
            holds = True if sure >= least else None if possible >= least else False
            words = "one" if least == 1 else f"{least}"
            what = f"{words} of: " + "; ".join(c.what for c in judged)
            return Condition(what, holds, _because(judged))
        case _:
            assert_never(part)


def derived(classifiers: Sequence[Classifier], facts: Facts) -> dict[str, Fact]:
    """Return *facts* with what classifiers say; what a person stated is not overruled.

    One that says yes suffices; it is no only if every one that applies says so, and one does apply.
    """
    found = dict(facts)
    for name in dict.fromkeys(classifier.gives for classifier in classifiers):
        said = [
            judge(c.when, facts).holds if applies else None
            for c in classifiers
            if c.gives == name and (applies := judge(c.applies, facts).holds) is not False
        ]
        if name not in facts and said and (True in said or None not in said):
            found[name] = True in said
    return found


def known(given: Mapping[str, object]) -> dict[str, Fact]:
    """Return of *given* what a condition can use: FACTS in their kind; the rest is not known."""
    found: dict[str, Fact] = {}
    for name, kind in FACTS.items():
        value = given.get(name)
        if (kind == "flag" and isinstance(value, bool)) or (
            kind == "number" and isinstance(value, int) and not isinstance(value, bool)
        ):
            found[name] = value
        elif kind == "set" and isinstance(value, Set | list | tuple):
            found[name] = frozenset(v for v in value if isinstance(v, str))
    return found


def _test(test: Test, facts: Facts) -> Condition:
    what = f"{_name(test.fact)} {_OPS[test.op]}{_words(test.value)}"
    if test.op == "is" and isinstance(test.value, bool):
        what = _name(test.fact) if test.value else f"not {_name(test.fact)}"
    if test.fact not in facts:
        return Condition(what, None, f"{_name(test.fact)} is not stated")
    value = facts[test.fact]
    return Condition(what, _holds(test, value), f"{_name(test.fact)}: {_words(value)}")


_OPS = {"is": "", "in": "is one of ", "overlaps": "includes one of ", "at_least": "≥ ",
        "more_than": "> "}  # fmt: skip


def _holds(test: Test, value: Fact) -> bool | None:
    match test.op, value, test.value:
        case "is", _, wanted:
            return value == wanted
        case (("overlaps" | "in"), frozenset(), frozenset() as wanted):
            if value & wanted:
                return True
            return None if "?" in value else False  # "?" stands for more that is not known
        case "at_least", int(), int() as least:
            return value >= least
        case "more_than", int(), int() as bound:
            return value > bound
        case _:
            return None  # a fact in another kind than asked for is not known


def _all(judged: Sequence[Condition]) -> bool | None:
    holds = [c.holds for c in judged]
    return False if False in holds else None if None in holds else True


def _because(judged: Sequence[Condition]) -> str:
    return "; ".join(dict.fromkeys(c.because for c in judged))


def _name(fact: str) -> str:
    return fact.replace("_", " ")


def _words(value: Fact) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value - {"?"})) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
