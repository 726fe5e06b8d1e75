"""`tocsin oncall`: who is on call, gaps, coverage, calendars; checks files before their use."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from shared.errors import UserError
from shared.identity import Role
from tocsin.home import DEFAULT_HOME, Home
from tocsin.service_client import checked, client_for
from tocsin.terminal import Terminal

__all__ = ["app"]

app = typer.Typer(help="On call: who, gaps, coverage, overrides, calendars.", no_args_is_help=True)
console = Terminal()

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="TOCSIN_HOME", help="Directory of the platform's data.")
]
UrlOption = Annotated[str | None, typer.Option(help="The escalate service.")]
TokenOption = Annotated[
    str | None, typer.Option(envvar="TOCSIN_TOKEN", help="Bearer token; default: one of its own.")
]


@app.command()
def check(
    directory: Annotated[Path | None, typer.Argument(help="A directory of teams.")] = None,
    routing: Annotated[Path | None, typer.Option(help="Rules of whom to engage.")] = None,
    paging: Annotated[Path | None, typer.Option(help="Escalation policies.")] = None,
    doors: Annotated[Path | None, typer.Option(help="Doors of other tools and mail.")] = None,
) -> None:
    """Read files as escalate would; what is wrong is said with its line, exit code 1."""
    from services.escalate.directory import load_directory
    from services.escalate.doors.register import load_doors
    from services.escalate.oncall.paging_file import load_paging
    from services.escalate.routing_file import load_routing

    given: list[tuple[Path | None, Callable[[Path], object]]] = [
        (directory, load_directory), (routing, load_routing), (paging, load_paging),
        (doors, partial(load_doors, verified=True)),
    ]  # fmt: skip
    if not any(path for path, _ in given):
        raise UserError("Name a file to check.")
    for path, load in given:
        if path is not None:
            load(path)
            typer.echo(f"{path}: good")


@app.command()
def who(
    at: Annotated[str | None, typer.Option(help="RFC 3339; default: now.")] = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Show first and second on call of every team."""
    with client_for(Home(home), "escalate", url, token, Role.SECURITY_RESPONSE) as client:
        found = checked(client.get("/v1/oncall", params={"at": at} if at else {}))
    columns = ("team", "kind", "primary", "secondary", "lead")
    _table(columns, [[item[c] or "–" for c in columns] for item in found["items"]])


@app.command()
def gaps(
    days: Annotated[int, typer.Option(min=1, max=366)] = 30,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Show when nobody, or no second, is on call; exit code 2 if there is such a time."""
    _findings("/v1/oncall/gaps", days, home, url, token)


@app.command()
def coverage(
    days: Annotated[int, typer.Option(min=1, max=366)] = 30,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Show what nobody competent is on call for; exit code 2 if there is anything."""
    _findings("/v1/oncall/coverage", days, home, url, token)


@app.command("calendar")
def calendar_out(
    schedule: Annotated[str, typer.Argument()],
    file: Annotated[Path | None, typer.Option(help="Default: standard output.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366)] = 90,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Write the shifts of a schedule as iCalendar."""
    with client_for(Home(home), "escalate", url, token, Role.SECURITY_RESPONSE) as client:
        answer = client.get(f"/v1/oncall/schedules/{schedule}.ics", params={"days": days})
        if not answer.is_success:
            checked(answer)
    if file is None:
        typer.echo(answer.text, nl=False)
    else:
        file.write_bytes(answer.content)


@app.command("import")
def calendar_in(
    schedule: Annotated[str, typer.Argument()],
    file: Annotated[Path, typer.Argument(help="iCalendar; each event is an override.")],
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Take the events of an iCalendar as overrides, all or none."""
    content = file.read_bytes()
    with client_for(Home(home), "escalate", url, token, Role.SECURITY_RESPONSE) as client:
        path = f"/v1/oncall/schedules/{schedule}/import"
        headers = {"Content-Type": "text/calendar"}
        found = checked(client.post(path, content=content, headers=headers))
    typer.echo(f"{found['added']} of {found['events']} are new")


@app.command()
def override(
    schedule: Annotated[str, typer.Argument()],
    person: Annotated[str, typer.Argument()],
    start: Annotated[str, typer.Option("--from", help="RFC 3339, inclusive.")],
    end: Annotated[str, typer.Option("--to", help="RFC 3339, exclusive.")],
    reason: Annotated[str, typer.Option(help="It stays on record.")],
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Put somebody on call instead of whoever the layers name; print the override's id."""
    body = {"schedule": schedule, "person": person, "from": start, "to": end, "reason": reason}
    with client_for(Home(home), "escalate", url, token, Role.SECURITY_RESPONSE) as client:
        typer.echo(checked(client.post("/v1/oncall/overrides", json=body))["override_id"])


def _findings(path: str, days: int, home: Path, url: str | None, token: str | None) -> None:
    with client_for(Home(home), "escalate", url, token, Role.SECURITY_RESPONSE) as client:
        found = checked(client.get(path, params={"days": days}))["items"]
    rows = [
        [item["what"], item["name"], item["why"], _when(span["from"]), _when(span["to"])]
        for item in found
        for span in item["spans"]
    ]
    _table(("what", "name", "why", "from", "to"), rows)
    if rows:
        raise typer.Exit(2)


def _when(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M} UTC"


def _table(columns: tuple[str, ...], rows: list[list[Any]]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)
