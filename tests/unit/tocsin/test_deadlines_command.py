"""`tocsin deadlines` on the shipped example, and what it says of a file that it cannot take."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tocsin.cli import app
from tocsin.deadlines import DeadlinesError, compute

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).resolve().parents[3] / "services" / "notify" / "examples" / "deadlines.yml"


def test_the_example_says_what_is_owed_first_and_why() -> None:
    shown = CliRunner().invoke(app, ["deadlines", str(EXAMPLE), "--explain"])
    assert shown.exit_code == 0, shown.output
    first = shown.output.splitlines()[0]
    assert first.startswith("2026-03-03 16:00:00Z")
    assert "dora_19/initial → national_competent_authority" in first
    assert "major incident: yes" in shown.output
    assert "8 business hours" in shown.output
    assert "not required (--all shows them" in shown.output


def test_json_is_what_the_api_shows() -> None:
    shown = CliRunner().invoke(app, ["deadlines", str(EXAMPLE), "--json"])
    due = {(o["regime"], o["phase"], o["tenant"]): o["due_at"] for o in json.loads(shown.output)}
    assert due["gdpr_33_1", "initial", None] == "2026-03-06T09:20:00.000000Z"
    assert due["contract_sla", "9.1", "fabrikam"] == "2026-03-04T08:20:00.000000Z"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('clocks: {aware: "2026-03-03T09:20:00"}', "clocks.aware: "),
        ("clocks: {aware: now}", "clocks.aware: "),
        ("facts: {}", "clocks: Field required"),
        ("clocks: [", ": not YAML"),
        ('clocks: {aware: "2026-03-03T09:20:00Z"}\nregimes: [gdpr]', "no regime gdpr"),
    ],
)
def test_what_it_cannot_take_it_refuses_in_a_sentence(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "case.yml"
    file.write_text(text)
    shown = CliRunner().invoke(app, ["deadlines", str(file)])
    assert shown.exit_code == 1
    assert why in str(shown.exception)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeadlinesError, match="cannot be read"):
        compute(tmp_path / "none.yml", [])
