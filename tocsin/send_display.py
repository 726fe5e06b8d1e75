"""`tocsin send` as people see it: a bar a file, the rate, and what became of the events."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from tocsin.reading import ReadingError
from tocsin.send import SendError, Sent, Target, send_file

__all__ = ["Waits", "send_files"]

REMIND_SECONDS = 15.0
LINE_SECONDS = 5.0


class Waits:
    """Says what is waited for, terminal or not: at once, when it changes, and now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: tuple[str, float] = ("", 0.0)

    def tell(self, problem: str) -> None:
        now = time.monotonic()
        if problem != self._told[0] or now - self._told[1] >= REMIND_SECONDS:
            self._told = (problem, now)
            self._console.print(f"waiting: {problem.rstrip('.')}; will repeat", style="yellow")


class _Lines:
    """Progress in lines, every few seconds, where there is no terminal for a bar."""

    def __init__(self, console: Console, name: str, size: int | None) -> None:
        self._console, self._name, self._size = console, name, size
        self._told = time.monotonic()

    def tell(self, position: int, events: int, rate: float) -> None:
        now = time.monotonic()
        if self._console.is_terminal or now - self._told < LINE_SECONDS:
            return
        self._told = now
        share = f" {100 * position // self._size} %," if self._size else ""
        self._console.print(f"{self._name}:{share} {events:,} events, {rate:,.0f}/s")


async def send_files(
    target: Target,
    files: Sequence[Path],
    *,
    again: bool,
    console: Console,
    states: Path | None = None,
) -> int:
    """Send *files* one after another; say what became of each; return how many failed."""
    failed = 0
    total = Sent()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        console=console,
        disable=not sys.stderr.isatty() and not console.is_terminal,
    ) as progress:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            for path in files:
                size = path.stat().st_size if path.is_file() else None
                task = progress.add_task(path.name, total=size, events=0, rate=0.0)
                begun = time.monotonic()
                lines = _Lines(progress.console, path.name, size)

                def moved(
                    position: int,
                    sent: Sent,
                    task: TaskID = task,
                    begun: float = begun,
                    lines: _Lines = lines,
                ) -> None:
                    events = sent.accepted + sent.duplicates
                    rate = events / max(0.001, time.monotonic() - begun)
                    progress.update(task, completed=position, events=events, rate=rate)
                    lines.tell(position, events, rate)

                waits = Waits(progress.console)
                try:
                    sent = await send_file(
                        client,
                        target,
                        path,
                        again=again,
                        states=states,
                        on_progress=moved,
                        on_wait=waits.tell,
                    )
                except (ReadingError, SendError, OSError) as error:
                    failed += 1
                    said = error.strerror if isinstance(error, OSError) else error
                    progress.console.print(f"{path}: {said}", style="red")
                    continue
                total.accepted += sent.accepted
                total.duplicates += sent.duplicates
                total.quarantined += sent.quarantined
    console.print(
        f"{total.accepted:,} events accepted"
        + (f", {total.duplicates:,} known already" if total.duplicates else "")
        + (f", {total.quarantined:,} in quarantine" if total.quarantined else ""),
    )
    return failed
