"""`tocsin up`: the platform in the foreground, until Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from shared.topology import SERVICES
from tocsin.home import DEFAULT_HOME
from tocsin.stack import Stack, StackOptions
from tocsin.supervisor import Event, State

__all__ = ["run_up", "until_stopped"]

_WORTH_SAYING = {State.EXITED, State.BACKING_OFF, State.FAILING}
_DOES = {
    "ingest": "POST /v1/events takes logs",
    "detect": "rules and detections",
    "escalate": "severity, escalation, paging",
    "cases": "incidents: commands and views",
    "notify": "affected customers, deadlines, notices",
}


async def until_stopped() -> None:
    """Return on SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def where_to_look(urls: Mapping[str, str]) -> Table:
    """Return the services and their addresses as a table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in SERVICES:
        table.add_row(f"[bold]{name}[/]", urls[name], f"[dim]{_DOES[name]}[/]")
    return table


def command(name: str, home: Path) -> str:
    """Return how the reader may start sub-command *name* for this platform, as this one was."""
    program = Path(sys.argv[0])
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    start = f"{program}" if program.name == "tocsin" else "tocsin"
    return f"{start} {name}" + ("" if home == DEFAULT_HOME else f" --home {home}")


async def run_up(options: StackOptions, console: Console) -> None:
    """Run the platform until it is told to stop; PlatformError when it cannot start."""

    def on_event(event: Event) -> None:
        if event.state in _WORTH_SAYING:
            said = f": {event.last_line[:300]}" if event.last_line else ""
            console.print(f"{event.name} {event.state}{said}", style="yellow")

    stopping = asyncio.ensure_future(until_stopped())
    starting = asyncio.ensure_future(_start(options, on_event, console))
    await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # Ctrl-C while it was starting
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    stack = await starting
    try:
        await stopping
        console.print("\nstopping")
    finally:
        await stack.__aexit__()


async def _start(options: StackOptions, on_event: object, console: Console) -> Stack:
    from dataclasses import replace

    stack = Stack(replace(options, on_event=on_event))  # type: ignore[arg-type]  # it is one
    await stack.__aenter__()
    console.print(where_to_look(stack.urls))
    console.print(
        f"\nready in {sum(stack.timings.values()):.1f} s; data and logs under {stack.home.root}\n"
        f"send logs:  {command('send', options.root)} FILE…\n"
        f"a token:    {command('token', options.root)} alice --role security_response\n"
        "stop:       Ctrl-C",
    )
    return stack
