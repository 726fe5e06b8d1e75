"""Regimes as data: files of rows and classifiers, taken whole or refused with line and reason."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from services.notify.obligations.conditions import FACTS, AllOf, Classifier, Test
from services.notify.obligations.deadlines import Rule
from services.notify.obligations.regimes import (
    CLOCKS,
    Duty,
    HoldKind,
    Phase,
    Regime,
    Regimes,
    Status,
    Trigger,
    submitted,
)
from services.notify.obligations.rule_file import (
    parse_calendar_name,
    parse_parts,
    parse_rule,
    parse_zone,
)
from shared.errors import UserError
from shared.yaml_lines import Fields, LineError, Node, Table, fields, read

__all__ = ["RegimesError", "load_regimes", "merged", "parse_regimes", "shipped_regimes"]

E = TypeVar("E", bound=StrEnum)
_KEYS = (
    "id", "version", "title", "enabled", "status", "in_force", "duty", "trigger", "clock", "phases",
    "tz", "calendar", "hold", "late", "source", "basis", "notes", "verified_on", "verified_by",
)  # fmt: skip


class RegimesError(UserError):
    """The regimes cannot be taken; the message says where and why."""


_BASES = ("published", "general_knowledge", "own")


def parse_regimes(text: str) -> Regimes:
    """Return the rows and classifiers in *text*; LineError with line and reason."""
    top = fields(read(text), "regimes", ("regimes", "classifiers"))
    rows = tuple(_regime(node) for node in top.items("regimes"))
    _no_overlap(rows)
    return Regimes(rows=rows, classifiers=tuple(map(_classifier, top.items("classifiers"))))


@cache
def shipped_regimes() -> Regimes:
    """Return the regimes that come with Tocsin."""
    folder = files("services.notify.obligations").joinpath("table")
    found = Regimes(rows=())
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yml")):
        found = merged(found, parse_regimes(folder.joinpath(name).read_text("utf-8")))
    return found


def load_regimes(paths: Sequence[Path], switches: Mapping[str, bool]) -> Regimes:
    """Return the shipped rows with those of the files at *paths* over them, switched on or off.

    RegimesError for a file that cannot be taken, and for a switch of a row that is not there or
    that is no law in force.
    """
    found = shipped_regimes()
    for path in paths:
        try:
            found = merged(found, parse_regimes(path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise RegimesError(f"{path}: cannot be read: {error}") from error
        except LineError as error:
            raise RegimesError(f"{path}:{error.line}: {error.why}") from error
    if unknown := set(switches) - {row.id for row in found.rows}:
        raise RegimesError(f"regimes_enabled: there is no regime {', '.join(sorted(unknown))}")
    for row in found.rows:
        if switches.get(row.id) and row.status is Status.PROPOSED:
            raise RegimesError(f"regimes_enabled: {row.id} is proposed, not in force")
    rows = (replace(row, enabled=switches.get(row.id, row.enabled)) for row in found.rows)
    return replace(found, rows=tuple(rows))


def merged(first: Regimes, second: Regimes) -> Regimes:
    """Return both; a row of *second* takes the place of all versions of that row in *first*."""
    replaced = {row.id for row in second.rows}
    kept = tuple(row for row in first.rows if row.id not in replaced)
    return Regimes(rows=kept + second.rows, classifiers=(*first.classifiers, *second.classifiers))


def _no_overlap(rows: tuple[Regime, ...]) -> None:
    for index, row in enumerate(rows):
        for other in rows[:index]:
            if row.id == other.id and _overlaps(row, other):
                raise LineError(
                    row.line, f"{row.id} is in force twice at a time: see line {other.line}"
                )


def _overlaps(a: Regime, b: Regime) -> bool:
    return (a.in_force_from or date.min) <= (b.in_force_to or date.max) and (
        b.in_force_from or date.min
    ) <= (a.in_force_to or date.max)


def _classifier(node: Node) -> Classifier:
    row = fields(node, "classifier", ("id", "gives", "applies", "when", "source"))
    what = row.text("id")
    row.text("source")
    gives = row.text("gives")
    if FACTS.get(gives) != "flag":
        raise LineError(row.line_of("gives"), f"{what}: {gives!r} is no fact that is true or false")
    return Classifier(
        gives=gives,
        applies=AllOf(parse_parts(row.table("applies"), what)),
        when=AllOf(parse_parts(row.table("when"), what)),
    )


def _regime(node: Node) -> Regime:
    row = fields(node, "regime", _KEYS)
    what = row.text("id")
    duty = _one_of(row, "duty", Duty, what)
    status = _one_of(row, "status", Status, what)
    enabled = row.flag("enabled", False)
    basis = row.text("basis")
    if basis not in _BASES:
        raise LineError(row.line_of("basis"), f"{what}: basis is one of {', '.join(_BASES)}")
    if enabled and status is not Status.IN_FORCE:
        raise LineError(row.line_of("enabled"), f"{what} is {status}: it cannot be enabled")
    begins, ends = _span(row, what)
    clock = row.text_or_none("clock")
    trigger, capacities = _trigger(row.table("trigger"), what)
    late = row.table("late")
    return Regime(
        id=what,
        version=row.text("version"),
        title=row.text("title"),
        duty=duty,
        status=status,
        enabled=enabled,
        trigger=trigger,
        phases=_phases(row, what, clock) if duty is not Duty.CLAUSE else (),
        source=row.text("source"),
        basis=basis,
        in_force_from=begins,
        in_force_to=ends,
        capacities=capacities,
        tz=parse_zone(row, what) if row.has("tz") else None,
        calendar=parse_calendar_name(row, what) if row.has("calendar") else None,
        hold=_one_of(row, "hold", HoldKind, what) if row.has("hold") else HoldKind.NONE,
        late_reasons_required=bool(
            late
            and fields(late, f"{what}: late", ("reasons_required",)).flag("reasons_required", False)
        ),
        notes=row.text_or_none("notes") or "",
        verified_on=_date(row, "verified_on", what),
        verified_by=row.text_or_none("verified_by"),
        line=row.line,
    )


def _span(row: Fields, what: str) -> tuple[date | None, date | None]:
    node = row.table("in_force")
    if node is None:
        return None, None
    span = fields(node, f"{what}: in_force", ("from", "to"))
    begins, ends = _date(span, "from", what), _date(span, "to", what)
    if begins and ends and begins > ends:
        raise LineError(span.line, f"{what}: in force from {begins} to {ends}")
    return begins, ends


def _trigger(node: Node | None, what: str) -> tuple[Trigger, frozenset[str]]:
    if node is None:
        return Trigger(), frozenset()
    keys = (
        "capacity", "established_in", "data_subject_regions", "industry", "entity_class", "when",
        "unless",
    )  # fmt: skip
    row = fields(node, f"{what}: trigger", keys)
    sets = tuple(
        Test(key, "overlaps", frozenset(text for text, _ in row.texts(key)))
        for key in keys[1:5]
        if row.has(key)
    )
    when = (*sets, *parse_parts(row.table("when"), what))
    capacities = frozenset(text for text, _ in row.texts("capacity"))
    return Trigger(when=when, unless=parse_parts(row.table("unless"), what)), capacities


def _phases(row: Fields, what: str, clock: str | None) -> tuple[Phase, ...]:
    found: list[Phase] = []
    for node in row.items("phases"):
        keys = ("id", "rule", "clock", "after", "recipients", "content", "repeats", "when")
        given = fields(node, f"{what}: phase", keys)
        name = given.text("id")
        here = f"{what}/{name}"
        if "#" in name:  # numbers the periods of a phase that recurs
            raise LineError(given.line_of("id"), f"{here}: the id of a phase has no #")
        earlier = [phase.id for phase in found]
        if name in earlier:
            raise LineError(given.line_of("id"), f"{here} stands twice")
        after = given.text_or_none("after")
        if after is not None and after not in earlier:
            raise LineError(given.line_of("after"), f"{here}: no phase {after!r} stands before it")
        starts = submitted(after) if after else given.text_or_none("clock") or clock
        if after is None and starts not in CLOCKS:
            line = given.line_of("clock") if given.has("clock") else row.line_of("clock")
            raise LineError(line, f"{here}: clock {starts!r} is none of {', '.join(CLOCKS)}")
        rule = given.table("rule")
        if rule is None:
            raise LineError(given.line, f"{here} has no rule")
        repeats, again = _repeats(given, here, (*CLOCKS, submitted(name)))
        recipients = tuple(text for text, _ in given.texts("recipients"))
        if not recipients:
            raise LineError(given.line, f"{here} has no recipients")
        found.append(
            Phase(
                id=name,
                rule=parse_rule(rule, here, (*CLOCKS, *map(submitted, earlier))),
                clock=starts or "",
                recipients=recipients,
                content=tuple(text for text, _ in given.texts("content")),
                after=after,
                repeats=repeats,
                again=again,
                when=parse_parts(given.table("when"), here),
            )
        )
    if not found:
        raise LineError(row.line, f"{what} has no phases")
    return tuple(found)


def _repeats(given: Fields, here: str, clocks: Sequence[str]) -> tuple[bool, Rule | None]:
    """Return whether a phase recurs, and the rule of the later periods where it is another one."""
    node = given.table("repeats")
    if isinstance(node, Table):
        return True, parse_rule(node, f"{here}: repeats", clocks)
    return given.flag("repeats", False), None


def _one_of(row: Fields, key: str, kind: type[E], what: str) -> E:
    text = row.text(key)
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(kind)
        raise LineError(row.line_of(key), f"{what}: {key} {text!r} is none of {known}") from None


def _date(row: Fields, key: str, what: str) -> date | None:
    text = row.text_or_none(key)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise LineError(row.line_of(key), f"{what}: {key} {text!r} is not YYYY-MM-DD") from None
