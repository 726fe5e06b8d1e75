"""`tocsin inventory`: what it would change and changes, all of it as rows, what was known when."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from shared.clock import parse_instant
from shared.errors import UserError
from shared.identity import Role
from tocsin.home import DEFAULT_HOME, Home
from tocsin.service_client import RefusedError, checked, client_for
from tocsin.terminal import Terminal

__all__ = ["app"]

app = typer.Typer(help="Regions to servers, customers, and who is where.", no_args_is_help=True)
console = Terminal()

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
SECONDS = 900.0  # a million rows
CHUNK = 1 << 20

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="TOCSIN_HOME", help="Directory of the platform's data.")
]
UrlOption = Annotated[str | None, typer.Option(help="The notify service.")]
TokenOption = Annotated[
    str | None, typer.Option(envvar="TOCSIN_TOKEN", help="Bearer token; default: one of its own.")
]
AtOption = Annotated[str | None, typer.Option(help="As it was known then (RFC 3339).")]
JsonOption = Annotated[bool, typer.Option("--json", help="As the API shows it.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV of one kind, JSON, NDJSON or YAML.")],
    kind: Annotated[
        str | None, typer.Option(help="The one kind that is in it: placements, tenants, …")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only show what would change.")] = False,
    merge: Annotated[bool, typer.Option(help="Add and correct; take nothing away.")] = False,
    skip_rejected: Annotated[
        bool, typer.Option(help="Take the rest of a file with rows that cannot be taken.")
    ] = False,
    json_out: JsonOption = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Take a file, all or nothing, and show the difference; bad rows with their line, exit 1."""
    media = MEDIA_TYPES.get(file.suffix.lower())
    if media is None:
        raise UserError(f"{file}: the name ends in none of {', '.join(MEDIA_TYPES)}.")
    asked = {"dry_run": dry_run, "merge": merge, "skip_rejected": skip_rejected}
    path = f"/v1/inventory/{kind}" if kind else "/v1/inventory"
    with client_for(Home(home), "notify", url, token, Role.POLICY_ADMIN) as client:
        answer = client.post(
            path,
            content=_chunks(file),
            params={name: "true" for name, wanted in asked.items() if wanted},
            headers={"content-type": media},
            timeout=SECONDS,
        )
    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
        for line in _rejected(file, answer.json().get("rejected", [])):
            typer.echo(line, err=True)
    found = checked(answer)
    if json_out:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _difference(found, file)
    if dry_run and found["rejected"] and not skip_rejected:
        raise typer.Exit(1)  # taken for real it would be refused


@app.command()
def export(
    file: Annotated[
        Path | None, typer.Argument(help="Default: standard output. `import` takes it.")
    ] = None,
    at: AtOption = None,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Write all rows as NDJSON, each with its kind; secrets are not among them."""
    asked = {"known_at": _instant(at)} if at else {}
    with (
        client_for(Home(home), "notify", url, token, Role.AUDITOR) as client,
        client.stream("GET", "/v1/inventory/export", params=asked, timeout=SECONDS) as answer,
    ):
        if not answer.is_success:
            answer.read()
            checked(answer)
        if file is None:
            for text in answer.iter_text():
                typer.echo(text, nl=False)
            return
        part = file.with_name(f"{file.name}.part")  # a file that is there is whole
        with part.open("wb") as out:
            for chunk in answer.iter_bytes():
                out.write(chunk)
        part.replace(file)


@app.command()
def show(
    at: AtOption = None,
    kind: Annotated[str | None, typer.Option(help="With --name: rows of that kind.")] = None,
    name: Annotated[str | None, typer.Option(help="A tenant, a server, a region, …")] = None,
    tenant: Annotated[str | None, typer.Option(help="Its placements.")] = None,
    server: Annotated[str | None, typer.Option(help="Its placements.")] = None,
    json_out: JsonOption = False,
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Show what runs, or what was known at an instant: the revision, or the rows asked for."""
    if (kind is None) != (name is None):
        raise UserError("--kind and --name go together.")
    instant = _instant(at) if at else None
    with client_for(Home(home), "notify", url, token, Role.AUDITOR) as client:
        if kind or tenant or server:
            found = _history(client, instant, kind, name, tenant, server)
        else:
            found = _revision_at(client, instant) if instant else checked(client.get(_RUNS))
    if json_out:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for one in found if isinstance(found, list) else [found]:
        typer.echo(json.dumps(one, ensure_ascii=False))


_RUNS = "/v1/inventory"


def _history(
    client: httpx.Client,
    at: str | None,
    kind: str | None,
    name: str | None,
    tenant: str | None,
    server: str | None,
) -> list[Any]:
    """Return the rows that are known, or were at an instant."""
    given = {"name": name, "tenant": tenant, "server": server, "known_at": at}
    path = f"{_RUNS}/{kind or 'placements'}/history"
    items = checked(client.get(path, params={k: v for k, v in given.items() if v}))["items"]
    return [item["row"] for item in items if at or item["recorded_to"] is None]


def _revision_at(client: httpx.Client, at: str) -> Any:
    """Return the revision that was the newest at an instant."""
    before: int | None = None
    while True:
        asked = {"before": before} if before else {}
        page = checked(client.get(f"{_RUNS}/revisions", params=asked))
        for item in page["items"]:
            if parse_instant(item["recorded_at"]) <= parse_instant(at):
                return item
        before = page["next"]
        if before is None:
            raise RefusedError(f"No inventory was known at {at}.")


def _instant(text: str) -> str:
    try:
        parse_instant(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no instant like 2026-03-03T09:20:00Z.") from error
    return text


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _rejected(file: Path, rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield f"{file}:{row['line']}: {row['why']}" if row["line"] else f"{file}: {row['why']}"


def _difference(found: dict[str, Any], file: Path) -> None:
    words = ("added", "removed", "changed", "unchanged")
    table = Table("kind", *words)
    for kind, one in found["kinds"].items():
        table.add_row(kind, *(f"{one['counts'][word]:,}" for word in words))
    if found["kinds"]:
        console.print(table)
    for kind, one in found["kinds"].items():
        for row in one["removed"]:
            typer.echo(f"- {kind} {_said(row)}")
        for row in one["added"]:
            typer.echo(f"+ {kind} {_said(row)}")
        for row in one["changed"]:
            typer.echo(f"~ {kind} {_said(row['before'])} → {_said(row['after'])}")
    for line in _rejected(file, found["rejected"]):
        typer.echo(line, err=True)
    done = "would become" if found["dry_run"] else "is"
    nothing = "" if found["kinds"] else "nothing changes; "
    typer.echo(f"{nothing}the inventory {done} version {found['version']}")


def _said(row: dict[str, Any]) -> str:
    return json.dumps({k: v for k, v in row.items() if v}, ensure_ascii=False)
