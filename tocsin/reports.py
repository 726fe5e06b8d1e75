"""`tocsin reports`: doors through which other tools and mail report, each with a key of its own."""

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from services.escalate.doors.register import KINDS, SOURCE_KINDS, parse_doors
from services.escalate.file_spots import FileError
from shared.errors import UserError
from shared.ids import new_hex_key
from tocsin.home import DEFAULT_HOME

__all__ = ["app"]

app = typer.Typer(help="Doors for reports of other tools and mail.", no_args_is_help=True)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")
_EMPTY = ("", "doors:", "doors: {}")
_USE = {
    "alertmanager": "POST /v1/alerts/alertmanager with this key as bearer token or basic password",
    "pagerduty": "POST /v2/enqueue with this key as routing_key",
    "mail": "publish an address with this key after a plus: security+{key}@YOUR.DOMAIN",
}


@app.command("add-door")
def add_door(
    name: Annotated[str, typer.Argument(help="Small letters, digits and dashes.")],
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")],
    source_kind: Annotated[str, typer.Option(help="What its reports are (R07).")] = "trend",
    tenant: Annotated[str | None, typer.Option(help="Of a customer_case: whose.")] = None,
    service: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    sender: Annotated[
        list[str] | None, typer.Option(help="Of mail: an address or domain, instead of a key.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(envvar="TOCSIN_ESCALATE_DOORS_FILE", help="Default: doors.yml in the home."),
    ] = None,
    home: Annotated[Path, typer.Option("--home", envvar="TOCSIN_HOME")] = DEFAULT_HOME,
) -> None:
    """Add a door to the file and print its key, which is shown once: the file has its digest.

    A running escalate reads the file again within seconds.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is not of small letters, digits and dashes")
    for given, known in ((kind, KINDS), (source_kind, SOURCE_KINDS)):
        if given not in known:
            raise UserError(f"{given!r} is none of {', '.join(known)}")
    key = "" if sender else new_hex_key()
    parts: dict[str, object] = {
        "kind": kind,
        "source_kind": source_kind,
        "key_sha256": hashlib.sha256(key.encode()).hexdigest() if key else None,
        "senders": sender,
        "tenant": tenant,
        "services": service,
        "regions": region,
    }
    place = file or home / "doors.yml"
    new = not place.exists()
    _write(place, with_door(place.read_text("utf-8") if not new else "", name, parts, place.name))
    if key:
        typer.echo(key)
        typer.echo(f"{place}: {name}; {_USE[kind].format(key=key)}", err=True)
    else:
        typer.echo(f"{place}: {name}; needs TOCSIN_ESCALATE_MAIL_AUTHSERV_ID", err=True)
    if new:
        typer.echo(f"Name it to escalate: TOCSIN_ESCALATE_DOORS_FILE={place.resolve()}", err=True)


def with_door(text: str, name: str, parts: dict[str, object], source: str = "doors") -> str:
    """Return *text* with one more door at its end; FileError where that would not be right."""
    # JSON is YAML, and quotes whatever needs it.
    stated = {key: value for key, value in parts.items() if value}
    entry = json.dumps(stated, ensure_ascii=False)
    before = parse_doors(text, source, verified=True) if text.strip() not in _EMPTY else None
    if before is None:
        text = "doors:\n"
    elif name in {door.name for door in (*before.doors.values(), *before.senders.values())}:
        raise UserError(f"{source} has a door {name} already")
    first = re.search(r"^( +)[^ #\n]", text, re.MULTILINE)
    line = f"{first[1] if first else '  '}{name}: {entry}\n"
    parse_doors(f"doors:\n  {name}: {entry}\n", source, verified=True)
    joined = (text if text.endswith("\n") else f"{text}\n") + line
    try:
        parse_doors(joined, source, verified=True)
    except FileError as error:  # a key twice, or a form that nothing is added to at the end
        raise UserError(f"{error}; add to {source} yourself: {line.strip()}") from error
    return joined


def _write(place: Path, text: str) -> None:
    """Replace the file in one step: whoever reads it meanwhile reads it whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    mode = place.stat().st_mode & 0o777 if place.exists() else 0o644
    descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, place)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
