"""`tocsin scan` as a command on real files: its output, its report, and its refusals."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from services.detect.ruleset import PACK

pytestmark = pytest.mark.integration

EVENT = {
    "EventID": 1102,
    "Channel": "Security",
    "Provider_Name": "Microsoft-Windows-Eventlog",
    "TimeCreated": "2026-11-01 10:00:00",
}
OTHER = {"EventID": 4624, "Channel": "Security"}


def scan(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tocsin", "scan", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "160"},
    )  # fmt: skip


def hits(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    lines = "\n".join([json.dumps(OTHER), "", "{broken", json.dumps(EVENT)]) + "\n"
    folder = tmp_path / "logs"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl").write_text(lines)
    (folder / "b.json.gz").write_bytes(gzip.compress(json.dumps([OTHER, EVENT]).encode()))
    (folder / "deep" / "c.zst").write_bytes(zstandard.compress(lines.encode()))
    (folder / "trail.json").write_text(json.dumps({"Records": [OTHER, EVENT]}))
    (folder / "auth.log").write_text(
        "Nov  1 10:00:00 web1 sshd[9]: Accepted publickey for ann from 10.0.0.1 port 1 ssh2\n"
        "Nov  1 10:00:01 web1 sshd[9]: Accepted password for root from 10.9.9.9 port 1 ssh2\n"
    )
    return tmp_path


def test_json_lines_name_file_record_rule_and_time(logs: Path) -> None:
    done = scan("--rules", PACK, "--format", "json", "logs", cwd=logs)

    found = hits(done)
    assert done.returncode == 0
    assert all(list(h) == ["file", "record", "rule_id", "title", "level", "time"] for h in found)
    assert {(h["file"], h["record"]) for h in found} == {
        ("logs/a.jsonl", 3),  # an empty line and a broken one keep their numbers
        ("logs/b.json.gz", 1),
        ("logs/deep/c.zst", 3),
        ("logs/trail.json", 1),
        ("logs/auth.log", 1),
    }
    assert {h["time"] for h in found if h["file"] == "logs/a.jsonl"} == {"2026-11-01 10:00:00"}
    assert "logs/a.jsonl: record 2: not JSON" in done.stderr
    assert "2 records could not be read" in done.stderr


def test_a_table_shows_hits_and_counts(logs: Path) -> None:
    done = scan("--rules", PACK, "logs/a.jsonl", cwd=logs)

    assert done.returncode == 0
    assert re.search(r"2026-11-01 10:00:00 +\w+ +.*logs/a.jsonl +3", done.stdout)


def test_the_report_is_one_file_that_loads_nothing(logs: Path) -> None:
    evil = {**EVENT, "TimeCreated": "<script>alert(1)</script>"}
    (logs / "evil.json").write_text(json.dumps(evil))
    done = scan(
        "--rules", PACK, "--format", "html", "--output", "r.html", "logs", "evil.json", cwd=logs
    )

    text = (logs / "r.html").read_text()
    assert done.returncode == 0
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"(src|@import|url\()", text)
    assert re.search(r"T\d{4}", text)
    assert "<svg" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rules", "nowhere", "logs"], "nowhere: there is no such file or directory of rules"),
        (["--rules", "logs/deep", "logs"], "there is no rule to scan with"),
        (["--rules", str(PACK), "missing.json"], "missing.json: there is no such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    logs: Path, arguments: list[str], sentence: str
) -> None:
    done = scan(*arguments, cwd=logs)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_long_lines_are_read_and_do_not_shift_records(logs: Path) -> None:
    long = json.dumps({**EVENT, "Data": "x" * (3 << 20)})
    endless = '{"Data": "' + "x" * (17 << 20)
    (logs / "long.jsonl").write_text(
        "\n".join([json.dumps(OTHER), long, endless, json.dumps(EVENT)])
    )
    done = scan("--rules", PACK, "--format", "json", "long.jsonl", cwd=logs)
    assert [hit["record"] for hit in hits(done)] == [1, 3]
    assert "record 2: not JSON" in done.stderr


GUESSED = """
title: Many failures
id: 10000000-0000-4000-8000-000000000001
level: high
correlation:
  {type: event_count, rules: [failure], group-by: [user], timespan: 1m, condition: {gte: 3}}
---
title: Failure
id: 10000000-0000-4000-8000-000000000002
name: failure
level: low
logsource: {category: application}
detection: {s: {outcome: failure}, condition: s}
"""


def test_correlations_go_over_files_by_the_events_times(logs: Path) -> None:
    (logs / "many.yml").write_text(GUESSED)
    times = {"one.jsonl": ("10:00:00Z", "10:00:40Z", "10:05:00Z"), "two.jsonl": ("10:00:20Z",)}
    for name, own in times.items():
        lines = [{"outcome": "failure", "user": "eve", "time": f"2026-11-01T{t}"} for t in own]
        lines.append({"outcome": "failure", "user": "eve"})
        (logs / name).write_text("\n".join(map(json.dumps, lines)))
    arguments = ("--rules", "many.yml", "--category", "application", "--level", "medium")
    done = scan(*arguments, "--format", "json", *times, cwd=logs)
    assert hits(done) == [
        {
            "file": "one.jsonl",
            "record": 1,
            "rule_id": "10000000-0000-4000-8000-000000000001",
            "title": "Many failures",
            "level": "high",
            "time": "2026-11-01T10:00:40.000000Z",
        }
    ]
    assert "1 rules and 1 correlations" in done.stderr
    assert "2 matches without a time" in done.stderr


def test_broken_files_are_named_and_the_rest_goes_on(logs: Path) -> None:
    (logs / "half.gz").write_bytes(gzip.compress(os.urandom(4000))[:2000])
    (logs / "no.evtx").write_bytes(b"ElfFile\0" + b"x" * 5000)
    (logs / "deep.json").write_text('{"a":' * 10_000 + "1" + "}" * 10_000)
    done = scan(
        "--rules", PACK, "--format", "json", "half.gz", "no.evtx", "deep.json", "logs/a.jsonl",
        cwd=logs,
    )  # fmt: skip

    assert done.returncode == 1
    assert [h["record"] for h in hits(done)] == [3]
    for name in ("half.gz", "no.evtx", "deep.json"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.corpus
@pytest.mark.conformance
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("windows-attacks", "expected-hits-provider-alias.json"),
        ("cloudtrail", "expected-hits.json"),
    ],
)
def test_public_corpora_give_the_expected_hits(corpus: Path, folder: str, expected: str) -> None:
    wanted = json.loads((corpus / folder / expected).read_bytes())["files"]
    names = [f"--rules={path}" for path in sorted((corpus / "sigma").glob("rules*"))]
    done = scan(*names, "--format", "json", *sorted(wanted), cwd=corpus / folder)

    assert {(h["file"], h["record"], h["rule_id"]) for h in hits(done)} == {
        (name, record, rule) for name, found in wanted.items() for record, rule in found
    }


@pytest.mark.corpus
@pytest.mark.conformance
@pytest.mark.timeout(300)
def test_evtx_of_every_regression_test_fires(corpus: Path) -> None:
    names = [f"--rules={path}" for path in sorted((corpus / "sigma").glob("rules*"))]
    done = scan(*names, "--format", "json", "regression_data", cwd=corpus / "sigma")

    fired = {(Path(h["file"]).stem, h["rule_id"]) for h in hits(done) if h["file"].endswith("evtx")}
    files = sorted((corpus / "sigma" / "regression_data").rglob("*.evtx"))
    assert len(files) == 202
    assert [path.stem for path in files if (path.stem, path.stem) not in fired] == []
