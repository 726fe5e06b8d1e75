"""`tocsin reports add-door` writes a door that escalate reads, and shows its key once."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.escalate.doors.register import load_doors
from shared.errors import UserError
from tocsin.cli import app
from tocsin.reports import with_door

pytestmark = pytest.mark.unit


def run(file: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["reports", "add-door", *arguments, "--file", str(file)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout.strip()


def test_doors_are_added_to_what_is_there_and_open_to_their_keys(tmp_path: Path) -> None:
    file = tmp_path / "doors.yml"
    key = run(file, "prometheus", "--kind", "alertmanager")
    assert len(key) == 32
    file.write_text("# our doors\n" + file.read_text())
    other = run(
        file, "acme-soc", "--kind", "pagerduty", "--source-kind", "customer_case",
        "--tenant", "acme", "--service", "api", "--service", "id",
    )  # fmt: skip
    nothing = run(file, "partners", "--kind", "mail", "--source-kind", "partner",
                  "--sender", "partner.example")  # fmt: skip
    assert nothing == ""
    assert file.read_text().startswith("# our doors\n")
    assert key not in file.read_text()
    doors = load_doors(file, verified=True)
    prometheus, acme = doors.door("alertmanager", key), doors.door("pagerduty", other)
    assert prometheus
    assert prometheus.name == "prometheus"
    assert acme
    assert (acme.tenant, acme.services) == ("acme", ("api", "id"))
    assert doors.door_of("a@partner.example")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["prometheus", "--kind", "alertmanager"], "has a door prometheus already"),
        (["New Door", "--kind", "mail"], "not of small letters"),
        (["x", "--kind", "fax"], "none of alertmanager"),
        (["x", "--kind", "mail", "--source-kind", "rumour"], "none of rule"),
        (["x", "--kind", "mail", "--tenant", "acme"], "a customer's door has a tenant"),
        (["x", "--kind", "pagerduty", "--sender", "a.b"], "only mail has senders"),
    ],
)
def test_what_is_no_door_changes_nothing(tmp_path: Path, arguments: list[str], why: str) -> None:
    file = tmp_path / "doors.yml"
    run(file, "prometheus", "--kind", "alertmanager")
    before = file.read_text()
    with pytest.raises(UserError, match=why):
        run(file, *arguments)
    assert file.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["doors.yml"]


def test_a_file_that_ends_in_another_form_is_left_to_its_author() -> None:
    flow = 'doors: {a: {kind: mail, source_kind: partner, key_sha256: "' + "0" * 64 + '"}}\n'
    parts: dict[str, object] = {"kind": "mail", "source_kind": "rule", "key_sha256": "1" * 64}
    with pytest.raises(UserError, match=r"yourself: b: .*kind"):
        with_door(flow, "b", parts)
