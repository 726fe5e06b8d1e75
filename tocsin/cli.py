"""The `tocsin` command: wiring of sub-commands only; a failure is a sentence, no traceback."""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from services.detect.rules.model import Level
from shared.errors import UserError
from shared.identity import Role
from shared.topology import IDENTITIES, SERVICES
from tocsin.home import DEFAULT_HOME
from tocsin.inventory import app as inventory_app
from tocsin.oncall import app as oncall_app
from tocsin.reports import app as reports_app
from tocsin.scan.form import Form
from tocsin.templates import app as templates_app
from tocsin.terminal import Terminal

__all__ = ["app", "main"]

T = TypeVar("T")
app = typer.Typer(
    name="tocsin",
    help="Security incident management: from the first log line to the last notified customer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Terminal()
stderr = Terminal(stderr=True)

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="TOCSIN_HOME", help="Directory of the platform's data.")
]


class CommandError(UserError):
    """What the user gets to read: one sentence, exit code 1."""


def main() -> None:
    """Run the command line; a failure is a sentence on standard error (TOCSIN_DEBUG shows all)."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("TOCSIN_DEBUG"):
            raise
        sentence = next(iter(str(error).splitlines()), "") or type(error).__name__
        if not isinstance(error, UserError | OSError):
            sentence += " (TOCSIN_DEBUG=1 shows where)"
        stderr.print(f"tocsin: {sentence}", style="red")
        sys.exit(1)


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    rules: Annotated[
        list[Path] | None, typer.Option(help="A directory of Sigma rules; may be repeated.")
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(help="Regions to servers and customers; default: inventory.yml in the home."),
    ] = None,
    random_ports: Annotated[bool, typer.Option(help="Do not use ports 8080 to 8084.")] = False,
) -> None:
    """Run the platform here until Ctrl-C; data stay under .tocsin.

    TOCSIN_DATABASE_URL and TOCSIN_NATS_URL replace the embedded PostgreSQL and NATS.
    """
    from tocsin.stack import StackOptions
    from tocsin.up import run_up

    options = StackOptions(
        root=home,
        random_ports=random_ports,
        database_url=os.environ.get("TOCSIN_DATABASE_URL"),
        nats_url=os.environ.get("TOCSIN_NATS_URL"),
        environment={**_rules(rules), **_inventory(home, inventory), **_doors(home)},
        say=lambda line: console.print(line, style="dim"),
    )
    _run(run_up(options, console))


def _rules(rules: list[Path] | None) -> dict[str, str]:
    for directory in rules or []:
        if not directory.is_dir():
            raise CommandError(f"{directory} is no directory of rules")
    found = os.pathsep.join(str(directory.resolve()) for directory in rules or [])
    return {"TOCSIN_DETECT_RULES": found} if found else {}


def _inventory(home: Path, given: Path | None) -> dict[str, str]:
    if given is not None and not given.is_file():
        raise CommandError(f"{given} is no file")
    path = given or home / "inventory.yml"
    return {"TOCSIN_NOTIFY_INVENTORY_FILE": str(path.resolve())} if path.is_file() else {}


def _doors(home: Path) -> dict[str, str]:
    path = home / "doors.yml"
    if os.environ.get("TOCSIN_ESCALATE_DOORS_FILE") or not path.is_file():
        return {}
    return {"TOCSIN_ESCALATE_DOORS_FILE": str(path.resolve())}


@app.command()
def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object.")
    ] = False,
    leave: Annotated[
        bool, typer.Option("--exit", help="Stop everything at the end instead of staying up.")
    ] = False,
) -> None:
    """Play an attack through the whole platform: logs in, an incident, customers notified."""
    from tocsin.demo import run_demo

    sys.exit(_run(run_demo(as_json=as_json, leave=leave, console=stderr if as_json else console)))


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(help="Files of logs; - is standard input.")],
    home: HomeOption = DEFAULT_HOME,
    url: Annotated[str | None, typer.Option(help="The ingest service.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="TOCSIN_KEY", help="API key of a log source.")
    ] = None,
    product: Annotated[str | None, typer.Option(help="Sigma logsource product.")] = None,
    category: Annotated[str | None, typer.Option(help="Sigma logsource category.")] = None,
    service: Annotated[str | None, typer.Option(help="Sigma logsource service.")] = None,
    again: Annotated[
        bool, typer.Option(help="Send even what was sent before, as new events.")
    ] = False,
    follow: Annotated[
        bool, typer.Option(help="Go on with what the files grow by, through rotation.")
    ] = False,
    state: Annotated[
        Path | None, typer.Option(help="Where it is kept how far files were sent.")
    ] = None,
) -> None:
    """Ship logs to a running platform: JSON, CSV, EVTX, syslog, CloudTrail, journald, Zeek.

    An interrupted command goes on where it was when it is given again; nothing is doubled.
    """
    from tocsin.home import Home
    from tocsin.send import Target
    from tocsin.send_display import send_files
    from tocsin.stack import LOCAL_SOURCE, key_file

    place = Home(home)
    address = url or place.running().urls["ingest"]
    if key is None:
        path = place.secrets.path(key_file(LOCAL_SOURCE))
        if not path.exists():
            raise CommandError("No API key: give --key, or run `tocsin sources add`.")
        key = path.read_text().strip()
    target = Target(address.rstrip("/"), key, product, category, service)
    states = state or home / "send"
    if follow:
        from tocsin.send_follow import follow_files

        if any(str(file) == "-" for file in files):
            raise CommandError("Standard input is read to its end anyway, without --follow.")
        _run(follow_files(target, files, states, console))
        return
    failed = _run(send_files(target, files, again=again, console=console, states=states))
    if failed:
        raise CommandError(f"{failed} of {len(files)} files were not sent whole")


UrlOption = Annotated[str | None, typer.Option(help="The ingest service.")]
TokenOption = Annotated[
    str | None, typer.Option(envvar="TOCSIN_TOKEN", help="Bearer token; default: one of its own.")
]


@app.command()
def search(
    query: Annotated[
        str, typer.Argument(help="'EventID:4625 AND user:alice'; docs/search.md; '' is all.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    last: Annotated[str | None, typer.Option(help="15m, 24h, 7d; default: 24h.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="RFC 3339, inclusive.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="RFC 3339, exclusive.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Events to show.")] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="Every event, page after page.")
    ] = False,
    sort: Annotated[str, typer.Option(help="time, -time, or a field.")] = "-time",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    histogram: Annotated[bool, typer.Option(help="How many, over time.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write them to this file, with a SHA-256 to go with it.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Search stored events: fields at any depth, wildcards, ranges, full text."""
    from tocsin import search as searching
    from tocsin.home import Home
    from tocsin.service_client import client_for

    question = searching.Question(query, last, start, end, sort)
    with client_for(Home(home), "ingest", url, token, Role.SECURITY_RESPONSE) as client:
        if export is not None:
            most = None if everything else limit
            typer.echo(f"{export}: {searching.export(client, question, most, export)}")
        elif histogram:
            searching.show_histogram(client, question, as_json=as_json, console=console)
        else:
            searching.show_events(
                client, question, None if everything else limit, as_json=as_json, console=console
            )


@app.command()
def replay(
    start: Annotated[str, typer.Option("--from", help="RFC 3339, inclusive.")],
    end: Annotated[str, typer.Option("--to", help="RFC 3339, exclusive.")],
    home: HomeOption = DEFAULT_HOME,
    query: Annotated[str | None, typer.Option(help="Only events that this search finds.")] = None,
    purpose: Annotated[str, typer.Option(help="detect or backtest.")] = "detect",
    wait: Annotated[bool, typer.Option(help="Watch it to its end.")] = True,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Send stored events through detect again; nothing is raised twice."""
    from tocsin.home import Home
    from tocsin.replay import replay as run_replay
    from tocsin.service_client import client_for

    order = {"from": start, "to": end, "query": query, "purpose": purpose}
    with client_for(Home(home), "ingest", url, token, Role.SECURITY_RESPONSE) as client:
        typer.echo(run_replay(client, order, wait=wait, console=stderr))


@app.command()
def scan(
    files: Annotated[list[Path], typer.Argument(help="Files or directories; - is standard input.")],
    rules: Annotated[
        list[Path], typer.Option(help="Directory or file of Sigma rules; may be repeated.")
    ],
    form: Annotated[Form, typer.Option("--format", help="How hits are written.")] = Form.TABLE,
    output: Annotated[Path | None, typer.Option(help="A file; default: standard output.")] = None,
    level: Annotated[Level, typer.Option(help="Only rules of at least this level.")] = (
        Level.INFORMATIONAL
    ),
    product: Annotated[str | None, typer.Option(help="Sigma logsource product.")] = None,
    category: Annotated[str | None, typer.Option(help="Sigma logsource category.")] = None,
    service: Annotated[str | None, typer.Option(help="Sigma logsource service.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Search files with Sigma rules: JSON, EVTX, CloudTrail, syslog; gzip or zstd; no platform."""
    from services.detect.rules.model import LogSource
    from shared.clock import utc_now
    from tocsin.scan.command import run
    from tocsin.scan.run import Options

    options = Options(rules, files, LogSource(product, category, service), level, jobs)
    sys.exit(run(options, form, output, utc_now, stderr))


sources = typer.Typer(help="Log sources and their API keys.", no_args_is_help=True)
app.add_typer(sources, name="sources")


@sources.command("add")
def sources_add(
    name: Annotated[str, typer.Argument(help="Small letters, digits and dashes.")],
    home: HomeOption = DEFAULT_HOME,
    tenant: Annotated[str | None, typer.Option()] = None,
    region: Annotated[str | None, typer.Option()] = None,
    datacenter: Annotated[str | None, typer.Option()] = None,
    service: Annotated[str | None, typer.Option(help="The service whose logs these are.")] = None,
    server: Annotated[str | None, typer.Option()] = None,
    product: Annotated[str | None, typer.Option(help="Sigma logsource product.")] = None,
    category: Annotated[str | None, typer.Option(help="Sigma logsource category.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="The key expires after so long.")] = None,
) -> None:
    """Register a log source, or change its labels, and print a new API key for it."""
    from shared.clock import utc_now
    from tocsin.home import Home
    from tocsin.sources import add_source, source_of

    labels = {
        "tenant": tenant,
        "region": region,
        "datacenter": datacenter,
        "service": service,
        "server": server,
        "product": product,
        "category": category,
    }
    source = source_of(name, {k: v for k, v in labels.items() if v is not None})
    place = Home(home)
    expires = utc_now() + timedelta(days=days) if days else None
    pepper = place.secrets.get("ingest.key-pepper")
    typer.echo(_run(add_source(_admin_url(place), pepper, source, expires=expires)))


@sources.command("list")
def sources_list(
    home: HomeOption = DEFAULT_HOME,
    silent: Annotated[bool, typer.Option(help="Only those that are silent.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Show sources: last event, silence, clock, and per cent of what is asked of their logs."""
    from tocsin import sources_remote
    from tocsin.home import Home
    from tocsin.service_client import client_for

    with client_for(Home(home), "ingest", url, token, Role.OPERATOR) as client:
        sources_remote.show(client, console, silent=silent, as_json=as_json)


@sources.command("rotate")
def sources_rotate(
    name: Annotated[str, typer.Argument(help="The source.")],
    key_id: Annotated[str, typer.Argument(help="The key's id: tocsin_<id>_…")],
    home: HomeOption = DEFAULT_HOME,
    overlap_hours: Annotated[float, typer.Option(min=0, max=744, help="Both keys work.")] = 24,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Print a key that takes the place of another one; both work during the overlap."""
    from tocsin import sources_remote
    from tocsin.home import Home
    from tocsin.service_client import client_for

    with client_for(Home(home), "ingest", url, token, Role.OPERATOR) as client:
        typer.echo(sources_remote.rotate(client, name, key_id, overlap_hours))


@sources.command("revoke")
def sources_revoke(
    name: Annotated[str, typer.Argument(help="The source.")],
    key_id: Annotated[str, typer.Argument(help="The key's id: tocsin_<id>_…")],
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """End a key now."""
    from tocsin import sources_remote
    from tocsin.home import Home
    from tocsin.service_client import client_for

    with client_for(Home(home), "ingest", url, token, Role.OPERATOR) as client:
        sources_remote.revoke(client, name, key_id)


@sources.command("require")
def sources_require(
    service: Annotated[str, typer.Argument(help="The service whose logs are meant.")],
    file: Annotated[Path, typer.Argument(help="The requirement as JSON; docs/shippers.md.")],
    home: HomeOption = DEFAULT_HOME,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Say what a service has to log, as a new version of its logging requirement."""
    from tocsin import sources_remote
    from tocsin.home import Home
    from tocsin.service_client import client_for

    with client_for(Home(home), "ingest", url, token, Role.SECURITY_RESPONSE) as client:
        typer.echo(f"version {sources_remote.require(client, service, file)} is in force")


def _admin_url(home: Any) -> str:
    """Return the administrator's database: the operator's own, or that of a running platform."""
    if url := _secret("TOCSIN_DATABASE_URL"):
        return url
    from urllib.parse import quote

    running = home.running()
    password = quote(home.secrets.get("postgres-admin"), safe="")
    return f"postgresql://tocsin_admin:{password}@{running.database}/postgres"


@app.command()
def token(
    subject: Annotated[str, typer.Argument(help="Who: a name that the history will show.")],
    role: Annotated[list[str], typer.Option(help=f"One of {', '.join(Role)}; may be repeated.")],
    home: HomeOption = DEFAULT_HOME,
    tenant: Annotated[str | None, typer.Option(help="For customer contacts.")] = None,
    hours: Annotated[float, typer.Option(min=0.01, max=720)] = 12,
) -> None:
    """Print a bearer token of the local issuer (without an identity provider)."""
    from tocsin.home import Home
    from tocsin.tokens import LocalIssuer

    keys = Home(home).keys
    if not keys.is_dir():
        raise CommandError(f"{home} holds no platform; start one with `tocsin up`.")
    issued = LocalIssuer(keys).issue(subject, role, tenant=tenant, lifetime=timedelta(hours=hours))
    typer.echo(issued)


@app.command("nats-config")
def nats_config(home: HomeOption = DEFAULT_HOME) -> None:
    """Print the authorization block for a NATS server of your own; seeds stay in the home."""
    from tocsin.embedded.secret_files import SecretFiles
    from tocsin.stack import authorization

    secrets = SecretFiles(home / "secrets")
    typer.echo("# jetstream needs: sync_interval: always   (docs/operations.md)")
    typer.echo(authorization(secrets), nl=False)
    for identity in IDENTITIES:
        typer.echo(f"# seed of {identity}: {secrets.path(f'nats.{identity}.nkey')}")


@app.command("compose-secrets")
def compose_secrets(
    folder: Annotated[Path, typer.Argument(help="Where the files go; git must not see it.")],
    database: Annotated[
        str, typer.Option(help="Host, port and database as the services see them.")
    ] = "postgres:5432/tocsin",
) -> None:
    """Make the secrets of a containerised platform; what is there is kept."""
    from tocsin.compose_secrets import write_secrets

    for path in write_secrets(folder, database):
        typer.echo(path)


@app.command()
def migrate() -> None:
    """Bring the schema of TOCSIN_DATABASE_URL up to date (one Job in Kubernetes).

    TOCSIN_<SERVICE>_DATABASE_PASSWORD (or …_FILE) creates that service's role or sets its password.
    """
    from shared.migrate import migrate as run_migrations

    url = _secret("TOCSIN_DATABASE_URL")
    if not url:
        raise CommandError("TOCSIN_DATABASE_URL is not set")
    passwords = {s: _secret(f"TOCSIN_{s.upper()}_DATABASE_PASSWORD") for s in SERVICES}
    for service, revision in _run(run_migrations(url, passwords)).items():
        typer.echo(f"{service}: {revision}")


def _secret(name: str) -> str | None:
    if file := os.environ.get(f"{name}_FILE"):
        return Path(file).read_text().strip()
    return os.environ.get(name)


@app.command()
def bootstrap(
    replicas: Annotated[int, typer.Option(min=1, max=5, envvar="TOCSIN_NATS_REPLICAS")] = 1,
    events_gib: Annotated[
        int | None,
        typer.Option(min=1, envvar="TOCSIN_EVENTS_GIB", help="Room for raw events; default 8."),
    ] = None,
) -> None:
    """Create the streams and consumers on TOCSIN_NATS_URL, or bring them in line."""
    from tocsin.bootstrap import bootstrap as run_bootstrap

    url = os.environ.get("TOCSIN_NATS_URL", "nats://127.0.0.1:4222")
    seed = _secret("TOCSIN_NATS_NKEY_SEED")
    for name in _run(run_bootstrap(url, seed, replicas=replicas, events_gib=events_gib)):
        typer.echo(name)


@app.command()
def verify(
    bundle: Annotated[
        Path | None, typer.Argument(help="An exported incident: no database, no network.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    database_url: Annotated[
        str | None, typer.Option(help="A database; default: that of the running platform.")
    ] = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Hash the bytes of every item of evidence too.")
    ] = False,
    key: Annotated[
        str | None, typer.Option(help="The log's public key, or a file with it; pin it!")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A signed note kept elsewhere: finds restored backups.")
    ] = None,
) -> None:
    """Check that nobody has altered the log; exit code 0 intact, 2 tampered with, 3 incomplete."""
    from tocsin.home import Home
    from tocsin.verify import evidence_of, read_key, verify_database, verify_file

    place = Home(home)
    if bundle is not None:
        if not bundle.is_file():
            raise CommandError(f"{bundle} is no file")
        outcome = _run(verify_file(bundle, read_key(key, place) if key else None))
    else:
        url = database_url or _admin_url(place)
        pinned = checkpoint.read_text(encoding="utf-8") if checkpoint else None
        store = evidence_of(place) if evidence else None
        outcome = _run(verify_database(url, read_key(key, place), pinned, store))
    console.print(outcome.sentence, style=None if outcome.code == 0 else "red")
    sys.exit(outcome.code)


app.add_typer(oncall_app, name="oncall")
app.add_typer(inventory_app, name="inventory")
app.add_typer(reports_app, name="reports")
app.add_typer(templates_app, name="templates")
rules_app = typer.Typer(
    help="Detection rules: test, check, coverage, import, backtest.", no_args_is_help=True
)
app.add_typer(rules_app, name="rules")
PlacesArgument = Annotated[
    list[Path] | None, typer.Argument(help="Directories of rules; default: those that come along.")
]


@rules_app.command("test")
def rules_test(
    places: PlacesArgument = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report to this file.")] = None,
) -> None:
    """Run the examples beside rules (NAME.test.yml): which must fire, which must not."""
    from tocsin.rules import test

    sys.exit(test(places or [], junit, console))


@rules_app.command("check")
def rules_check(places: PlacesArgument = None) -> None:
    """Load rules and say what is wrong with them: file, line, reason."""
    from tocsin.rules import check

    sys.exit(check(places or [], console))


@rules_app.command("coverage")
def rules_coverage(
    places: PlacesArgument = None,
    layer: Annotated[
        Path | None, typer.Option(help="Write an ATT&CK Navigator layer to this file.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Rules, or a Navigator layer, whose techniques should be covered."),
    ] = None,
) -> None:
    """Say which ATT&CK tactics and techniques rules look for, and which are missing."""
    from tocsin.rules import coverage

    sys.exit(coverage(places or [], layer, against or [], console))


DetectOption = Annotated[str | None, typer.Option(help="The detect service.")]
EngineerOption = Annotated[
    str | None, typer.Option(envvar="TOCSIN_TOKEN", help="Bearer token of a detection engineer.")
]


@rules_app.command("import")
def rules_import(
    places: Annotated[list[Path], typer.Argument(help="Files or directories of rules.")],
    reason: Annotated[str, typer.Option(help="Why, for whoever approves.")],
    origin: Annotated[
        str, typer.Option(help="predefined, recommendation or threat_intelligence.")
    ] = "recommendation",
    home: HomeOption = DEFAULT_HOME,
    url: DetectOption = None,
    token: EngineerOption = None,
) -> None:
    """Propose the rules of files to a running platform; somebody else approves them."""
    from tocsin.rules_remote import import_rules

    sys.exit(_run(import_rules(_desk(home, url, token), places, origin, reason, console)))


@rules_app.command("backtest")
def rules_backtest(
    rule_id: Annotated[str, typer.Argument(help="The rule whose pending revision is tried.")],
    begin: Annotated[datetime, typer.Option("--from", help="Events from here on (UTC).")],
    end: Annotated[datetime, typer.Option("--to", help="Events before this (UTC).")],
    query: Annotated[str | None, typer.Option(help="Only events this search finds.")] = None,
    home: HomeOption = DEFAULT_HOME,
    url: DetectOption = None,
    token: EngineerOption = None,
) -> None:
    """Try a proposed rule on the events that the log store holds, and say what it found."""
    from tocsin.rules_remote import backtest

    period = begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC)
    sys.exit(_run(backtest(_desk(home, url, token), rule_id, *period, query, console)))


def _desk(home: Path, url: str | None, token: str | None) -> Any:
    from tocsin.home import Home
    from tocsin.rules_remote import Desk

    if token is None:
        raise CommandError("No token: give --token, or run `tocsin token NAME --role …`.")
    return Desk(url or Home(home).running().urls["detect"], token)


cases = typer.Typer(help="The views of the cases service.", no_args_is_help=True)
app.add_typer(cases, name="cases")


@cases.command("rebuild")
def cases_rebuild(
    home: HomeOption = DEFAULT_HOME,
    database_url: Annotated[
        str | None, typer.Option(help="A database; default: that of the running platform.")
    ] = None,
) -> None:
    """Make every view anew from the log; exit code 2 if they were not what the log says."""
    from tocsin.case_keys import keks_of
    from tocsin.home import Home
    from tocsin.rebuild import rebuild

    place = Home(home)
    outcome = _run(rebuild(database_url or _admin_url(place), keks_of(place)))
    console.print(outcome.sentence, style=None if outcome.code == 0 else "red")
    sys.exit(outcome.code)


@app.command()
def severity(
    file: Annotated[Path, typer.Argument(help="The eight criteria: YAML or JSON.")],
    policy: Annotated[
        Path | None, typer.Option(help="Another version of the policy; default: the shipped one.")
    ] = None,
    json_out: Annotated[bool, typer.Option("--json", help="As the API shows it.")] = False,
) -> None:
    """Compute a severity and explain every point of it; nothing needs to run."""
    from tocsin.assess import severity_of, show

    found = severity_of(file, policy)
    if json_out:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(found, console)


@app.command()
def priority(
    file: Annotated[Path, typer.Argument(help="The three factors, and perhaps `nciss`.")],
    policy: Annotated[
        Path | None, typer.Option(help="Another version of the policy; default: the shipped one.")
    ] = None,
    nciss: Annotated[Path | None, typer.Option(help="NCISS weights of your own.")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="As the API shows it.")] = False,
) -> None:
    """Compute a priority, and the NCISS score where it is asked for; nothing needs to run."""
    from tocsin.assess import priority_of, show

    found = priority_of(file, policy, nciss)
    if json_out:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(found, console)


@app.command()
def deadlines(
    file: Annotated[Path, typer.Argument(help="Clocks, facts, tenants: YAML or JSON.")],
    regimes: Annotated[
        list[Path] | None, typer.Option(help="Rows of your own; may be repeated.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is not required, and why.")
    ] = False,
    explain: Annotated[bool, typer.Option(help="Each step of the arithmetic.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="As the API shows it.")] = False,
) -> None:
    """Compute what would be owed to whom by when; nothing needs to run."""
    from shared.clock import utc_now
    from tocsin.deadlines import as_json, compute, show

    found = compute(file, regimes or [])
    if json_out:
        typer.echo(json.dumps(as_json(found), indent=2))
    else:
        show(console, found, utc_now(), everything=everything, explain=explain)


@cases.command("rotate-keys")
def cases_rotate_keys(
    home: HomeOption = DEFAULT_HOME,
    database_url: Annotated[
        str | None, typer.Option(help="A database; default: that of the running platform.")
    ] = None,
) -> None:
    """Wrap all data keys under the first master key of the file; no event is touched."""
    from tocsin.case_keys import keks_of
    from tocsin.home import Home
    from tocsin.rotate import rotate_keys

    place = Home(home)
    done = _run(rotate_keys(database_url or _admin_url(place), keks_of(place)))
    console.print(f"{done} data keys wrapped anew; older master keys open nothing any more")


@cases.command("rotate-log-key")
def cases_rotate_log_key(
    home: HomeOption = DEFAULT_HOME,
    database_url: Annotated[
        str | None, typer.Option(help="A database; default: that of the running platform.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="The log's key; default: the setting, or the home's own.")
    ] = None,
) -> None:
    """Hand the log over to a new signing key; then restart cases. The old one still verifies."""
    from tocsin.home import Home
    from tocsin.rotate import rotate_log_key
    from tocsin.verify import log_key_of, log_origin

    place = Home(home)
    url = database_url or _admin_url(place)
    new = _run(rotate_log_key(url, log_origin(), key_file or log_key_of(place)))
    console.print(f"restart cases; publish the new key: {new}")


@app.command()
def doctor(home: HomeOption = DEFAULT_HOME) -> None:
    """Check this machine and the platform; each complaint comes with its fix."""
    from tocsin.doctor import diagnose
    from tocsin.home import Home

    failures = 0
    for check in _run(diagnose(Home(home))):
        console.print("ok " if check.ok else "BAD", style="green" if check.ok else "red", end=" ")
        console.print(f"{check.name}: {check.found}")
        if not check.ok:
            console.print(f"      fix: {check.fix}")
        failures += not check.ok
    if failures:
        raise CommandError(f"{failures} checks failed")
