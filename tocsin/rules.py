"""`tocsin rules`: what rule files hold, whether they do as their examples say, what they cover."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from services.detect.coverage import coverage_of, navigator_layer, techniques_of_layer
from services.detect.rules.load import load_rules
from services.detect.ruleset import PACK
from services.detect.ruletests import junit, run_tests
from shared.errors import UserError

__all__ = ["check", "coverage", "test"]

SHOWN = 50


def test(places: Sequence[Path], report: Path | None, console: Console) -> int:
    """Run the examples under *places*; return 0, or 1 if one failed or a rule was rejected."""
    run = run_tests(_directories(places))
    for case in run.cases:
        if not case.passed:
            console.print("FAILED", style="red", end=" ")
            console.print(f"{case.file}: {case.name}: {case.detail}")
    for error in run.report.errors:
        console.print("REJECTED", style="red", end=" ")
        console.print(str(error))
    if report is not None:
        report.write_bytes(junit(run))
    failed = sum(not case.passed for case in run.cases)
    console.print(
        f"{len(run.cases)} examples, {failed} failed; {len(run.report.errors)} rules rejected;"
        f" {len(run.untested)} files without examples"
    )
    return 0 if run.passed else 1


def check(places: Sequence[Path], console: Console) -> int:
    """Load *places* and print what is wrong; return 1 if a rule was rejected."""
    report = load_rules(_places(places))
    for error in (*report.errors, *report.skipped):
        kind = "skipped" if error.unsupported else "rejected"
        console.print(f"{kind}: {error}")
    for warning in report.warnings:
        console.print(f"warning: {warning}")
    filters = f", {len(report.filters)} filters" if report.filters else ""
    console.print(
        f"{report.documents} documents in {report.files} files: {len(report.rules)} rules and"
        f" {len(report.correlations)} correlations{filters} loaded, {len(report.errors)} rejected,"
        f" {len(report.skipped)} skipped"
    )
    return 1 if report.errors else 0


def coverage(
    places: Sequence[Path], layer: Path | None, against: Sequence[Path], console: Console
) -> int:
    """Print the coverage of *places*; with *against*, return 1 if a technique of it is missing."""
    found = coverage_of(load_rules(_places(places)))
    table = Table("tactic", "rules", box=None, pad_edge=False)
    for tactic, titles in found.tactics.items():
        table.add_row(tactic, str(len(titles)))
    console.print(table)
    console.print(
        f"{len(found.techniques)} techniques; {len(found.untagged)} rules without a technique"
    )
    if found.tactics_missing:
        console.print(f"no rule for: {', '.join(found.tactics_missing)}")
    if layer is not None:
        layer.write_bytes(
            orjson.dumps(navigator_layer(found, "Tocsin"), option=orjson.OPT_INDENT_2)
        )
    if not against:
        return 0
    missing = found.missing(_wanted(against))
    shown = ", ".join(missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
    console.print(f"{len(missing)} techniques missing{': ' + shown if missing else ''}")
    return 1 if missing else 0


def _wanted(against: Sequence[Path]) -> set[str]:
    wanted: set[str] = set()
    for place in _places(against):
        if place.suffix == ".json":
            try:
                wanted |= techniques_of_layer(orjson.loads(place.read_bytes()))
            except ValueError as error:
                raise UserError(f"{place}: {error}") from error
        else:
            wanted |= set(coverage_of(load_rules([place])).techniques)
    return wanted


def _places(places: Sequence[Path]) -> list[Path]:
    for place in places:
        if not place.exists():
            raise UserError(f"{place} is not there")
    return list(places) or [PACK]


def _directories(places: Sequence[Path]) -> list[Path]:
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is no directory of rules")
    return list(places) or [PACK]
