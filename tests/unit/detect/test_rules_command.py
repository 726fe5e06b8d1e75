"""`tocsin rules`: exit codes, what is printed, and the files that are written."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from services.detect.coverage import TACTICS
from tocsin.cli import app

pytestmark = pytest.mark.unit

RULE = """
title: A failure
id: 31111111-1111-4111-8111-111111111111
logsource: {category: application}
tags: [attack.execution, attack.t1059.001]
detection: {s: {outcome: failure}, condition: s}
"""


def tocsin(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["rules", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.split())


def test_the_shipped_rules_pass(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    code, said = tocsin("test", "--junit", report)
    assert (code, ", 0 failed; 0 rules rejected; 0 files without examples" in said) == (0, True)
    suite = ElementTree.parse(report).getroot()  # noqa: S314 - our own
    assert suite is not None
    assert suite.attrib["failures"] == "0"
    assert int(suite.attrib["tests"]) > 200


def test_what_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULE)
    (tmp_path / "r.test.yml").write_text("positive: [{outcome: success}]")
    code, said = tocsin("test", tmp_path)
    assert code == 1
    assert "positive 1: did not fire: A failure" in said.replace("\n", "")


def test_check_names_file_line_and_reason(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULE + "---\ntitle: x\ncorrelation: {type: odd}\n")
    code, said = tocsin("check", tmp_path)
    assert code == 1
    assert "r.yml:9: 'type' must be one of" in said.replace(" ", "").replace(
        "r.yml:9:'type'mustbeoneof", "r.yml:9: 'type' must be one of"
    )
    assert "1 rules and 0 correlations loaded, 1 rejected" in said
    assert tocsin("check")[0] == 0


def test_coverage_writes_a_layer_and_names_gaps(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULE)
    layer = tmp_path / "layer.json"
    code, said = tocsin("coverage", tmp_path, "--layer", layer)
    assert code == 0
    assert "no rule for: reconnaissance" in said
    written = json.loads(layer.read_text())
    assert written["domain"] == "enterprise-attack"
    assert [(t["techniqueID"], t["score"]) for t in written["techniques"]] == [("T1059.001", 1)]
    wanted = tmp_path / "wanted.json"
    techniques = [{"techniqueID": "T1110"}, {"techniqueID": "x", "enabled": False}]
    wanted.write_text(json.dumps({"techniques": techniques}))
    code, said = tocsin("coverage", tmp_path, "--against", wanted)
    assert (code, "1 techniques missing: T1110" in said) == (1, True)
    assert tocsin("coverage", tmp_path, "--against", tmp_path)[0] == 0


def test_the_shipped_rules_leave_few_tactics_out(tmp_path: Path) -> None:
    _, said = tocsin("coverage")
    missing = said.partition("no rule for: ")[2].split(", ")
    assert len(missing) <= 2
    assert set(missing) <= {*TACTICS, ""}
