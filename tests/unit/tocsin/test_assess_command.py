"""`tocsin severity` and `tocsin priority`: the answer of the API, from a file."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.escalate.policy import SHIPPED_SEVERITY
from services.escalate.preview import severity_from_mapping
from tests.unit.escalate.given import severity_policy
from tocsin.assess import AssessError, severity_of
from tocsin.cli import app

pytestmark = pytest.mark.unit
S6 = """
privacy: credentials
impact: no_impact_to_services
scope: server
affected_tenants: 2
region: standard
service: tier0
details: presence
industry_regulation: none
"""


def test_severity_is_what_the_api_answers(tmp_path: Path) -> None:
    file = tmp_path / "s6.yaml"
    file.write_text(S6)
    shown = CliRunner().invoke(app, ["severity", str(file), "--json"])
    found = json.loads(shown.output)
    assert (found["level"], found["points"], found["floors_applied"]) == ("SEV0", 74, ["F2"])
    policy = severity_policy()
    assert found == json.loads(json.dumps(severity_from_mapping(found["inputs"], policy)))
    plain = CliRunner().invoke(app, ["severity", str(file)]).output
    assert plain.startswith("SEV0  74 points")
    assert "floors: F2" in plain


def test_severity_under_another_version(tmp_path: Path) -> None:
    file, policy = tmp_path / "s6.yaml", tmp_path / "next.yaml"
    file.write_text(S6)
    text = SHIPPED_SEVERITY.read_text().replace('"2026.11.0"', '"2026.12.0"')
    policy.write_text(text.replace("credentials: 35}", "credentials: 40}"))
    found = severity_of(file, policy)
    assert (found["points"], found["version"]) == (79, "2026.12.0")
    assert found["digest"] != severity_policy().digest


def test_priority_with_nciss_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "functional: high\ninformational: [none, privacy_breach]\nrecoverability: regular\n"
        "nciss: {functional_impact: denial_critical_or_loss_of_control, observed_activity: effect,"
        " location_of_observed_activity: business_dmz, actor_characterization: hacktivists,"
        " information_impact: none, recoverability: regular, cross_sector_dependency: it,"
        " potential_impact: moderate}\n"
    )
    found = json.loads(CliRunner().invoke(app, ["priority", str(file), "--json"]).output)
    assert (found["priority"], found["nciss"]["score"], found["nciss"]["level"]) == (
        "P1", 51.87, "medium",
    )  # fmt: skip
    assert "NCISS 51.87  medium" in CliRunner().invoke(app, ["priority", str(file)]).output


@pytest.mark.parametrize(
    ("text", "reason"),
    [("privacy: lots", "privacy"), ("- 1", "a table"), ("a: [", "line"), ("mood: bad", "mood")],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(AssessError, match=reason):
        severity_of(file, None)
