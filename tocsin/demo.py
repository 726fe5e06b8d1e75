"""`tocsin demo`: the whole platform in a directory of its own, an attack played through it."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from shared.clock import utc_now
from tocsin.demo_story import Cast, Outcome, Story
from tocsin.memory import resident_mib
from tocsin.people import Person
from tocsin.sinks import Mailbox, WebhookReceiver, mailbox, webhook_receiver
from tocsin.stack import Stack, StackOptions
from tocsin.supervisor import Event, State
from tocsin.up import until_stopped, where_to_look

__all__ = ["run_demo"]

SOURCES = {
    "api-audit": {"region": "eu-west", "service": "api", "category": "application"},
    "hosts": {"region": "eu-west", "product": "linux"},
}
CUSTOMERS_WITH_WEBHOOK = ("fabrikam", "litware")


@dataclass(slots=True)
class _Stage:
    """What the demo runs on."""

    folder: Path
    stack: Stack
    box: Mailbox
    receiver: WebhookReceiver


async def run_demo(*, as_json: bool, leave: bool, console: Console) -> int:
    """Play the story; return the exit code. Everything started is stopped at the end."""
    started = time.monotonic()
    folder = _folder()
    stopping = asyncio.ensure_future(until_stopped())
    try:
        async with AsyncExitStack() as exits:
            playing = asyncio.ensure_future(_play(exits, folder, console, started))
            await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
                console.print("\nstopping")
                return 130
            stage, summary = await playing
            if as_json:
                sys.stdout.write(json.dumps(summary, indent=2, default=str) + "\n")
                sys.stdout.flush()
            if not leave:
                _show_where(console, stage)
                await stopping
                console.print("\nstopping")
            return 0
    finally:
        stopping.cancel()
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
    folder.chmod(0o711)  # PostgreSQL, run as another user, passes through
    return folder


async def _play(
    exits: AsyncExitStack, folder: Path, console: Console, started: float
) -> tuple[_Stage, dict[str, Any]]:
    stage = await _set(exits, folder, console)
    timings = dict(stage.stack.timings)
    console.print(
        f"[green]✔[/] PostgreSQL, NATS and five services are up "
        f"[dim]({time.monotonic() - started:.1f} s)[/]",
        markup=True,
    )
    client = await exits.enter_async_context(httpx.AsyncClient(timeout=30, trust_env=False))
    cast = await _cast(stage, client)
    story = Story(client, stage.stack.urls, cast, utc_now())
    for name, step in story.steps():
        begun = time.monotonic()
        with console.status(f"{name} …"):
            line = await step()
        timings[name] = round(time.monotonic() - begun, 2)
        console.print(
            f"[green]✔[/] [bold]{name:<12}[/] {line} [dim]({timings[name]:.1f} s)[/]",
            markup=True,
        )
    summary = _summary(stage, story.outcome, timings, time.monotonic() - started)
    _show(console, stage, story.outcome, summary)
    return stage, summary


async def _set(exits: AsyncExitStack, folder: Path, console: Console) -> _Stage:
    """Start the sinks and the platform, with an inventory whose customers live in the sinks."""
    box = await exits.enter_async_context(mailbox())
    secret = "whsec_" + "dG9jc2luLWRlbW8tc2lnbmluZy1zZWNyZXQtMzItYnl0ZXM="
    receiver = await exits.enter_async_context(webhook_receiver(secret))
    environment = _environment(folder, box, receiver)

    def on_event(event: Event) -> None:
        if event.state in {State.EXITED, State.FAILING}:
            console.print(f"{event.name} {event.state}: {event.last_line[:300]}")

    options = StackOptions(
        root=folder / "platform",
        random_ports=True,
        environment=environment,
        sources=SOURCES,
        on_event=on_event,
    )
    with console.status("starting PostgreSQL, NATS and five services …"):
        stack = await exits.enter_async_context(Stack(options))
    return _Stage(folder, stack, box, receiver)


def _environment(folder: Path, box: Mailbox, receiver: WebhookReceiver) -> dict[str, str]:
    example = files("services.notify").joinpath("examples", "inventory.yml").read_text()
    here = f"http://127.0.0.1:{receiver.port}"
    for name in CUSTOMERS_WITH_WEBHOOK:
        for host in (f"https://hooks.{name}.example", f"https://alerts.{name}.example"):
            example = example.replace(host, f"{here}/{name}")
    inventory = folder / "inventory.yml"
    inventory.write_text(example)
    secrets = folder / "webhook-secrets.json"
    secrets.touch(mode=0o600)
    secrets.write_text(json.dumps(dict.fromkeys(CUSTOMERS_WITH_WEBHOOK, receiver.secret)))
    return {
        "TOCSIN_NOTIFY_INVENTORY_FILE": str(inventory),
        "TOCSIN_NOTIFY_SMTP_HOST": "127.0.0.1",
        "TOCSIN_NOTIFY_SMTP_PORT": str(box.port),
        "TOCSIN_NOTIFY_SMTP_SECURITY": "none",
        "TOCSIN_NOTIFY_SENDER": "security@tocsin.example",
        "TOCSIN_NOTIFY_OPERATOR_NAME": "Tocsin Demo Services",
        "TOCSIN_NOTIFY_OPERATOR_DATA_SUBJECT_REGIONS": json.dumps(["EU"]),
        "TOCSIN_NOTIFY_WEBHOOK_ALLOW": json.dumps([f"127.0.0.1:{receiver.port}"]),
        "TOCSIN_NOTIFY_WEBHOOK_SECRETS_FILE": str(secrets),
    }


async def _cast(stage: _Stage, client: httpx.AsyncClient) -> Cast:
    stack = stage.stack

    def person(name: str, *roles: str) -> Person:
        return Person(client, stack.urls, name, stack.issuer.issue(name, roles))

    return Cast(
        alice=person("alice", "service_team"),
        bob=person("bob", "security_response"),
        carol=person("carol", "incident_communications"),
        olga=person("olga", "operator"),
        api_key=stack.key("api-audit"),
        host_key=stack.key("hosts"),
    )


def _summary(
    stage: _Stage, outcome: Outcome, timings: Mapping[str, float], total: float
) -> dict[str, Any]:
    incident = outcome.incident
    return {
        "ok": True,
        "events": {
            "sent": outcome.sent,
            "accepted": outcome.accepted,
            "quarantined": outcome.quarantined,
        },
        "detections": {
            "count": len(outcome.detections),
            "rules": sorted({d["title"] for d in outcome.detections}),
        },
        "incident": {
            "id": incident["incident_id"],
            "number": incident["number"],
            "title": incident["title"],
            "state": incident["state"],
            "severity": incident["severity"]["level"],
            "priority": incident["priority"]["priority"],
        },
        "refused_as_they_should_be": outcome.refusals,
        "affected_customers": [t["tenant"] for t in outcome.affected["tenants"]],
        "obligations": [
            {
                "regime": o["regime"],
                "recipient": o["recipient"],
                "tenant": o.get("tenant"),
                "due_at": o["due_at"],
            }
            for o in outcome.obligations
        ],
        "notified": {
            "mails": len(stage.box.mails),
            "webhooks": len(stage.receiver.received),
            "webhooks_refused": stage.receiver.refused,
        },
        "seconds": {**timings, "total": round(total, 2)},
        "resident_mib": resident_mib(os.getpid()),
        "urls": stage.stack.urls,
    }


def _show(console: Console, stage: _Stage, outcome: Outcome, summary: dict[str, Any]) -> None:
    table = Table(title="What arrived at the customers", title_justify="left", box=None)
    table.add_column("how")
    table.add_column("to")
    table.add_column("what")
    for mail in stage.box.mails:
        table.add_row("mail", str(mail["X-Envelope-To"]), str(mail["Subject"]))
    for hook in stage.receiver.received:
        table.add_row("webhook", "signature verified", str(hook["id"]))
    console.print(table)
    history = "\n".join(outcome.timeline)
    number = summary["incident"]["number"]
    console.print(Panel(history, title=f"{number}: its history", title_align="left"), markup=False)
    console.print(
        f"{summary['seconds']['total']:.1f} s in all, "
        f"{summary['resident_mib']['proportional']:.0f} MiB of memory"
    )


def _show_where(console: Console, stage: _Stage) -> None:
    token = stage.stack.issuer.issue("auditor", ["auditor", "security_response"])
    console.print(where_to_look(stage.stack.urls))
    console.print(
        f"\n  TOKEN={token}\n"
        f'  curl -H "Authorization: Bearer $TOKEN" {stage.stack.urls["cases"]}/v1/incidents\n'
        f"\nStill running; Ctrl-C stops everything and removes it. Next: tocsin up",
    )
