"""Labelled events of cloud and SaaS detections: what SigmaHQ's rules reach of them, and find.

A label belongs to another project's detection, not to a Sigma rule, so there is no right number of
hits. What is held: none of the sources that Sigma knows is unreachable, positives are hit more
often than negatives, and the hits of today stay. docs/detection.md has the table.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from services.detect.engine.matcher import FastMatcher
from services.detect.rules.load import LoadReport
from services.detect.rules.match import Event
from services.detect.rules.model import LogSource

pytestmark = [pytest.mark.conformance, pytest.mark.corpus, pytest.mark.timeout(240)]

SOURCES = {
    "AWS.CloudTrail": LogSource("aws", None, "cloudtrail"),
    "Amazon.EKS.Audit": LogSource("kubernetes", "application", "audit"),
    "Azure.MonitorActivity": LogSource("azure", None, "activitylogs"),
    "GCP.AuditLog": LogSource("gcp", None, "gcp.audit"),
    "GSuite.ActivityEvent": LogSource("gcp", None, "google_workspace.admin"),
    "GitHub.Audit": LogSource("github", None, "audit"),
    "Okta.SystemLog": LogSource("okta", None, "okta"),
    "OneLogin.Events": LogSource("onelogin", None, "onelogin.events"),
    "Microsoft365.Audit.AzureActiveDirectory": LogSource("m365", None, "audit"),
    "Microsoft365.Audit.General": LogSource("m365", None, "audit"),
}
REACHED = (625, 1558)
POSITIVES = 99
AZURE_AUDIT = {"SignInLogs": "signinlogs", "AuditLogs": "auditlogs"}


def test_labelled_cloud_events(corpus: Path, sigmahq: LoadReport) -> None:
    matcher = FastMatcher(sigmahq.rules)
    table: dict[str, Counter[str]] = {}
    lines = (corpus / "panther" / "panther-tests.jsonl").read_text("utf-8").splitlines()
    reached = 0
    for line in lines:
        test = json.loads(line)
        event, source = test["log"], _source(test)
        if source is None or not isinstance(event, dict):
            continue
        reached += 1
        label = "positive" if test["expected"] else "negative"
        name = "/".join(part for part in (source.product, source.service) if part)
        row = table.setdefault(name, Counter())
        row[label] += 1
        hits = matcher.match(Event(event, source))
        row[f"{label} hit"] += bool(hits)
        row["rules"] = len([r for r in sigmahq.rules if source.within(r.logsource)])
    total: Counter[str] = sum(table.values(), Counter())
    for name, row in (*sorted(table.items()), ("all", total)):
        print(
            f"{name}: {row['rules']} rules; positives {row['positive hit']} of {row['positive']},"
            f" negatives {row['negative hit']} of {row['negative']}"
        )
    print(f"{reached} of {len(lines)} events are of a log that Sigma has rules for")
    assert (reached, len(lines)) == REACHED
    assert all(row["rules"] for row in table.values())
    assert total["positive hit"] >= POSITIVES
    assert total["positive hit"] / total["positive"] > total["negative hit"] / total["negative"]


def _source(test: dict[str, object]) -> LogSource | None:
    types = test["log_types"]
    assert isinstance(types, list)
    event = test["log"]
    if types == ["Azure.Audit"] and isinstance(event, dict):
        service = AZURE_AUDIT.get(str(event.get("category")))
        return LogSource("azure", None, service) if service else None
    return SOURCES.get(types[0]) if len(types) == 1 else None
