"""Labelled events of cloud and SaaS detections: what SigmaHQ's rules reach of them, and find.

A label belongs to another project's detection, not to a Sigma rule, so there is no right number of
hits. What is held: none of the sources that Sigma knows is unreachable, positives are hit more
often than negatives, and the hits of today stay. docs/detection.md has the table.

Events go through the table of shapes, as the product has them. A source is known by the event's one
log type; where there are several, or none that Sigma knows, by what the shape says.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from services.detect.engine.matcher import FastMatcher
from services.detect.rules.evaluate import check
from services.detect.rules.fields import View
from services.detect.rules.load import LoadReport
from services.detect.rules.match import Event
from services.detect.rules.model import (
    AllOf,
    AtLeast,
    Item,
    LogSource,
    Node,
    Not,
    Rule,
    Selection,
)
from services.detect.shapes.shapes import shaped

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
AZURE_AUDIT = {"SignInLogs": "signinlogs", "AuditLogs": "auditlogs"}
# What was done, by the names under which rules ask for it.
OPERATIONS = {
    "eventName", "operationName", "OperationName", "OperationNameValue", "properties.message",
    "gcp.audit.method_name", "data.protoPayload.methodName", "protoPayload.methodName", "action",
    "eventType", "eventtype", "legacyEventType", "displayMessage", "verb", "event_type_id",
    "ActivityDisplayName", "ResultType", "Operation",
}  # fmt: skip
REACHED = (761, 1558)
POSITIVES = 119


def test_labelled_cloud_events(corpus: Path, sigmahq: LoadReport) -> None:
    matcher = FastMatcher(sigmahq.rules)
    table: dict[str, Counter[str]] = {}
    lines = (corpus / "panther" / "panther-tests.jsonl").read_text("utf-8").splitlines()
    reached = 0
    for line in lines:
        test = json.loads(line)
        if not isinstance(test["log"], dict):
            continue
        event = shaped(test["log"], _source(test) or LogSource())
        hint = event.logsource
        source = hint if isinstance(hint, LogSource) else LogSource.of(hint)
        if source.product in (None, "windows", "linux"):
            continue
        reached += 1
        rules = [rule for rule in sigmahq.rules if source.within(rule.logsource)]
        label = "positive" if test["expected"] else "negative"
        name = "/".join(part for part in (source.product, source.service) if part)
        row = table.setdefault(name, Counter())
        row[label] += 1
        row["rules"] = max(row["rules"], len(rules))
        if matcher.match(event):
            row[f"{label} hit"] += 1
        elif test["expected"]:
            row["asked for" if _asked_for(event, rules) else "not asked for"] += 1
    total: Counter[str] = sum(table.values(), Counter())
    for name, row in (*sorted(table.items()), ("all", total)):
        print(
            f"| {name} | {row['rules']} | {row['positive hit']} of {row['positive']}"
            f" | {row['negative hit']} of {row['negative']}"
            f" | {row['not asked for']} | {row['asked for']} |"
        )
    print(f"{reached} of {len(lines)} events are of a log that Sigma has rules for")
    assert (reached, len(lines)) == REACHED
    assert all(row["rules"] for row in table.values())
    assert total["positive hit"] >= POSITIVES
    assert total["positive hit"] / total["positive"] > total["negative hit"] / total["negative"]


def _asked_for(event: Event, rules: Sequence[Rule]) -> bool:
    """Return whether any rule asks for what was done in the event, whatever else it asks for."""
    view = View(event.fields, {})
    return any(check(item)(view) for rule in rules for item in _operations(rule.condition))


def _operations(node: Node) -> Iterator[Item]:
    match node:
        case Item(field=field):
            if field in OPERATIONS:
                yield node
        case Selection(node=inner):
            yield from _operations(inner)
        case AllOf(nodes=nodes) | AtLeast(nodes=nodes):
            for each in nodes:
                yield from _operations(each)
        case Not():
            return


def _source(test: dict[str, object]) -> LogSource | None:
    types = test["log_types"]
    if not isinstance(types, list) or len(types) != 1:
        return None
    event = test["log"]
    if types == ["Azure.Audit"] and isinstance(event, dict):
        service = AZURE_AUDIT.get(str(event.get("category")))
        return LogSource("azure", None, service) if service else None
    return SOURCES.get(types[0])
