"""`tocsin send` as people see it: a bar a file, the rate, and what became of the events."""

import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from tocsin.reading import ReadingError
from tocsin.send import SendError, Sent, Target, send_file

__all__ = ["send_files"]


async def send_files(
    target: Target, files: Sequence[Path], *, again: bool, console: Console
) -> int:
    """Send *files* one after another; say what became of each; return how many failed."""
    failed = 0
    total = Sent()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeElapsedColumn(),
        console=console,
        disable=not sys.stderr.isatty() and not console.is_terminal,
    ) as progress:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            for path in files:
                size = path.stat().st_size if path.is_file() else None
                task = progress.add_task(path.name, total=size, events=0)

                def moved(position: int, sent: Sent, task: object = task) -> None:
                    events = sent.accepted + sent.duplicates
                    progress.update(task, completed=position, events=events)  # type: ignore[arg-type]  # a TaskID

                try:
                    sent = await send_file(client, target, path, again=again, on_progress=moved)
                except (ReadingError, SendError, OSError) as error:
                    failed += 1
                    progress.console.print(f"{path}: {error}", style="red", markup=False)
                    continue
                total.accepted += sent.accepted
                total.duplicates += sent.duplicates
                total.quarantined += sent.quarantined
    console.print(
        f"{total.accepted:,} events accepted"
        + (f", {total.duplicates:,} known already" if total.duplicates else "")
        + (f", {total.quarantined:,} in quarantine" if total.quarantined else ""),
        highlight=False,
    )
    return failed
