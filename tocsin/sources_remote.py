"""Log sources of a running platform: what was measured of them, their keys, what is asked."""

import json
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from shared.errors import UserError
from tocsin.service_client import checked

__all__ = ["require", "revoke", "rotate", "show"]


def show(client: httpx.Client, console: Console, *, silent: bool, as_json: bool) -> None:
    """Print the sources as a table, or as JSON lines."""
    query = {"silent": "true"} if silent else None
    items = checked(client.get("/v1/sources", params=query))["items"]
    if as_json:
        for item in items:
            typer.echo(json.dumps(item))
        return
    table = Table("source", "kind", "service", "events", "last", "state", "clock", "conforms")
    for item in items:
        table.add_row(
            item["source_id"],
            item["kind"],
            item["service"] or "",
            f"{item['events']:,}",
            (item["last_received_at"] or "never")[:19],
            "disabled" if item["disabled"] else "silent" if item["silent"] else "",
            _clock(item["clock"]),
            _conforms(item["conformance"]),
        )
    console.print(table)


def _clock(clock: dict[str, Any]) -> str:
    return f"{clock['skew_seconds']:+.0f} s ahead" if clock["ahead"] else ""


def _conforms(conformance: dict[str, Any] | None) -> str:
    if conformance is None or conformance["conformant_percent"] is None:
        return ""
    return f"{conformance['conformant_percent']:g} %"


def rotate(client: httpx.Client, name: str, key_id: str, overlap_hours: float) -> str:
    """Return the key that follows on *key_id*."""
    body = {"overlap_seconds": round(overlap_hours * 3600)}
    answer = checked(client.post(f"/v1/sources/{name}/keys/{key_id}/rotate", json=body))
    return str(answer["key"])


def revoke(client: httpx.Client, name: str, key_id: str) -> None:
    """End the key."""
    checked(client.delete(f"/v1/sources/{name}/keys/{key_id}"))


def require(client: httpx.Client, service: str, file: Path) -> int:
    """Put *file* in force as the service's requirement; return its version."""
    try:
        body = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(f"{file}: not JSON: {error}") from error
    known = client.get(f"/v1/logging-requirements/{service}")
    base = 0 if known.status_code == 404 else checked(known)["versions"][0]["version"]
    answer = client.put(
        f"/v1/logging-requirements/{service}", json=body, headers={"If-Match": f'"{base}"'}
    )
    return int(checked(answer)["version"])
