"""`tocsin scan` as people see it: a progress bar, and a table, JSON lines or an HTML report."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from shared.clock import Clock
from tocsin.scan.form import Form
from tocsin.scan.html import Report
from tocsin.scan.parts import files_of
from tocsin.scan.run import Found, Options, Summary, load, scan
from tocsin.terminal import Terminal

__all__ = ["run"]

_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
_ROWS = 200


def run(options: Options, form: Form, output: Path | None, clock: Clock, stderr: Console) -> int:
    """Scan and write what was found; return 0, or 1 where files could not be read."""
    files = files_of(options.places)
    report, use = load(options.rules, options.at_least)
    said = f"{len(use.rules):,} rules"
    if report.errors or report.skipped:
        said += f" ({len(report.errors)} rejected, {len(report.skipped)} skipped)"
    if report.correlations:
        said += f" and {len(report.correlations)} correlations"
    stderr.print(said)
    summary = Summary()
    started = clock()
    sizes = {str(path): path.stat().st_size for path in files if path.is_file()}
    with Progress(
        TextColumn("{task.fields[hits]:,} hits"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
    ) as progress:
        task = progress.add_task("scan", total=sum(sizes.values()) or None, hits=0)
        positions: dict[str, int] = {}

        def moved(file: str, position: int) -> None:
            positions[file] = position
            progress.update(task, completed=sum(positions.values()), hits=summary.hits)

        found = scan(options, use, started, summary, moved)
        if output is None:
            _write(form, found, sys.stdout, summary, clock)
        else:
            with output.open("w", encoding="utf-8") as file:
                _write(form, found, file, summary, clock)
    seconds = max((clock() - started).total_seconds(), 0.001)
    for complaint in summary.complaints:
        stderr.print(complaint, style="yellow")
    stderr.print(
        f"{summary.hits:,} hits in {summary.events:,} events of {summary.files:,} files, "
        f"{seconds:.1f} s"
        + (f"; {summary.broken:,} records could not be read" if summary.broken else "")
        + (f"; {summary.timeless:,} matches without a time" if summary.timeless else ""),
    )
    return 1 if summary.failed else 0


def _write(form: Form, found: Iterator[Found], out: TextIO, summary: Summary, clock: Clock) -> None:
    match form:
        case Form.JSON:
            for each in found:
                out.write(orjson.dumps(each.as_json()).decode() + "\n")
        case Form.HTML:
            report = Report()
            for each in found:
                report.add(each)
            out.write(report.render(summary, clock()))
        case Form.TABLE:
            _table(found, out)


def _table(found: Iterator[Found], out: TextIO) -> None:
    console = Terminal(file=out)
    table = Table("time", "level", "rule", "file", "record", box=None, header_style="bold")
    more = 0
    rules: Counter[tuple[str, str]] = Counter()
    for each in found:
        level = str(each.rule.level)
        rules[level, each.rule.title] += 1
        if table.row_count >= _ROWS:
            more += 1
            continue
        table.add_row(
            each.time or "-", f"[{_STYLES.get(level, 'dim')}]{level}[/]", _plain(each.rule.title),
            _plain(each.file), str(each.record),
        )  # fmt: skip
    console.print(table)
    if more:
        console.print(f"… and {more:,} more hits; --format json shows all")
    counts = Table("hits", "level", "rule", box=None, header_style="bold")
    for (level, title), count in rules.most_common():
        counts.add_row(f"{count:,}", f"[{_STYLES.get(level, 'dim')}]{level}[/]", _plain(title))
    console.print(counts)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
