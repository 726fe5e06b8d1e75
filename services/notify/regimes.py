"""Notification regimes from `regimes.yml`: law and contract as data, refused whole when wrong."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from services.notify.deadlines import CalendarDays, ElapsedHours, Rule, WithoutUndueDelay
from services.notify.inventory import CLOCKS
from shared.yaml_lines import Fields, LineError, Node, fields, read

__all__ = ["Regime", "Trigger", "parse_regimes", "shipped_regimes"]

MOST_HOURS = 24 * 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """All of it must hold; a condition that is not stated is not asked."""

    capacity: frozenset[str] = frozenset()
    personal_data: bool = False
    data_subject_regions: frozenset[str] = frozenset()
    unless_risk_unlikely: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """One row; ``duty`` says to whom it gives obligations: operator, tenant or clause."""

    id: str
    version: str
    duty: str
    recipient: str
    source: str
    content: tuple[str, ...]
    trigger: Trigger
    clock: str | None
    phase: str | None
    rule: Rule | None


def parse_regimes(text: str) -> tuple[Regime, ...]:
    """Return the enabled regimes in *text*; LineError with line and reason."""
    top = fields(read(text), "regimes", ("regimes",))
    found = [_regime(node) for node in top.items("regimes")]
    names = [regime.id for regime, _ in found]
    if len(set(names)) != len(names):
        raise LineError(top.line, "a regime stands twice")
    return tuple(regime for regime, enabled in found if enabled)


@cache
def shipped_regimes() -> tuple[Regime, ...]:
    """Return the regimes that come with Tocsin."""
    return parse_regimes(files("services.notify").joinpath("regimes.yml").read_text("utf-8"))


def _regime(node: Node) -> tuple[Regime, bool]:
    keys = (
        "id", "version", "enabled", "status", "duty", "trigger", "clock", "phase", "rule",
        "recipient", "content", "source", "verified_on", "verified_by",
    )  # fmt: skip
    row = fields(node, "regime", keys)
    what = row.text("id")
    duty = row.text("duty")
    if duty not in {"operator", "tenant", "clause"}:
        raise LineError(row.line_of("duty"), f"{what}: duty {duty!r} is unknown")
    clock, rule = row.text_or_none("clock"), row.table("rule")
    if duty != "clause" and (clock not in CLOCKS or rule is None or not row.has("phase")):
        raise LineError(row.line, f"{what} needs clock ({', '.join(CLOCKS)}), phase and rule")
    trigger = row.table("trigger")
    regime = Regime(
        id=what,
        version=row.text("version"),
        duty=duty,
        recipient=row.text("recipient"),
        source=row.text("source"),
        content=tuple(text for text, _ in row.texts("content")),
        trigger=_trigger(trigger, what) if trigger else Trigger(),
        clock=clock,
        phase=row.text_or_none("phase"),
        rule=_rule(rule, what) if rule else None,
    )
    return regime, row.flag("enabled", False)


def _trigger(node: Node, what: str) -> Trigger:
    row = fields(node, f"{what}: trigger", ("capacity", "data", "data_subject_regions", "unless"))
    for key, only in (("data", "personal"), ("unless", "risk_unlikely")):
        if row.text_or_none(key) not in {None, only}:
            raise LineError(row.line_of(key), f"{what}: {key} can only be {only}")
    return Trigger(
        capacity=frozenset(text for text, _ in row.texts("capacity")),
        personal_data=row.has("data"),
        data_subject_regions=frozenset(text for text, _ in row.texts("data_subject_regions")),
        unless_risk_unlikely=row.has("unless"),
    )


def _rule(node: Node, what: str) -> Rule:
    kinds = ("elapsed_hours", "latest_arguable", "calendar_days", "without_undue_delay")
    row = fields(node, f"{what}: rule", kinds)
    if hours := row.number_or_none("elapsed_hours", 1, MOST_HOURS):
        arguable = row.text_or_none("latest_arguable")
        if arguable not in {None, "event_hour_not_counted"}:
            raise LineError(row.line_of("latest_arguable"), f"{what}: reading is unknown")
        return ElapsedHours(hours, arguable is not None)
    if days := row.table("calendar_days"):
        return _calendar_days(fields(days, f"{what}: rule", ("days", "tz", "count")), what)
    if delay := row.table("without_undue_delay"):
        target = fields(delay, f"{what}: rule", ("internal_target_hours",))
        hours = target.number_or_none("internal_target_hours", 1, MOST_HOURS)
        if hours:
            return WithoutUndueDelay(hours)
    raise LineError(row.line, f"{what}: the rule is incomplete")


def _calendar_days(row: Fields, what: str) -> CalendarDays:
    days, count = row.number_or_none("days", 1, 3660), row.text_or_none("count") or "exclusive"
    if days is None or count not in {"exclusive", "inclusive"}:
        raise LineError(row.line, f"{what}: calendar_days needs days and count ex- or inclusive")
    return CalendarDays(days, row.text("tz"), count == "inclusive")
