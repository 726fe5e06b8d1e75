"""`tocsin replay`: start one, and watch it to its end."""

import time
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from shared.errors import UserError
from tocsin.service_client import checked

__all__ = ["ReplayFailedError", "replay"]

LOOK = 0.3


class ReplayFailedError(UserError):
    """It did not come to its end; the message says why."""


def replay(client: httpx.Client, order: dict[str, Any], *, wait: bool, console: Console) -> str:
    """Start a replay; return a sentence about it, once it is over if *wait*.

    Interrupting the command does not stop the replay.
    """
    shown = checked(client.post("/v1/replays", json=order))
    where = f"/v1/replays/{shown['replay_id']}"
    if wait:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("replaying", total=1.0)
            while shown["state"] in {"waiting", "running"}:
                time.sleep(LOOK)
                shown = checked(client.get(where))
                told = f"{shown['events']:,} events"
                progress.update(task, completed=shown["progress"], description=told)
    if shown["state"] in {"failed", "cancelled"}:
        raise ReplayFailedError(f"replay {shown['replay_id']} {shown['state']}: {shown['reason']}")
    return (
        f"replay {shown['replay_id']} {shown['state']}: {shown['events']:,} events"
        f" in {shown['blocks']:,} blocks"
    )
