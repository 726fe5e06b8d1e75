"""Policy and directory files: a wrong one is refused with its line and the reason."""

import dataclasses
from pathlib import Path

import pytest

from services.escalate.directory import SHIPPED_DIRECTORY, load_directory, parse_directory
from services.escalate.file_spots import FileError
from services.escalate.policy import (
    SHIPPED_SEVERITY,
    load_severity_policy,
    parse_severity_policy,
)
from services.escalate.priority import SHIPPED_PRIORITY, parse_priority_policy
from tests.unit.escalate.given import DIRECTORY, severity_policy

pytestmark = pytest.mark.unit
SEVERITY = SHIPPED_SEVERITY.read_text()
PRIORITY = SHIPPED_PRIORITY.read_text()

BROKEN_SEVERITY = {
    "unknown key": ("floors:", "extra: 1\nfloors:", "unknown key"),
    "missing key": ("thresholds:", "treshold:", "unknown key"),
    "another policy": ("policy: severity", "policy: priority", "none of severity"),
    "number for text": ('"2026.11.0"', "2026", "must be text"),
    "truth for number": ("privacy: {none: 0", "privacy: {none: true", "whole number"),
    "negative": ("none: 0, unknown: 10, pseudonymous", "none: -1, unknown: 10, pseudonymous", "0"),
    "fraction": ("personal: 25", "personal: 2.5", "whole number"),
    "too large": ("personal: 25", "personal: 1001", "from 0 to 1000"),
    "text for number": ("personal: 25", "personal: much", "whole number"),
    "no unknown": ("unknown: 3, ", "", "needs unknown"),
    "rewarded ignorance": (
        "{tier3: 2, tier2: 6, unknown: 6", "{tier3: 2, tier2: 6, unknown: 1", "at least 2",
    ),
    "criterion gone": ("  region: {standard", "  weather: {standard", "unknown key"),
    "bands": ("[1, 5], [10, 10]", "[10, 10], [1, 5]", "above the band before"),
    "falling bands": ("[1, 5], [10, 10]", "[1, 10], [10, 5]", "fewer points"),
    "no band 0": ("[0, 0], [1, 5]", "[1, 5]", "from 0"),
    "band shape": ("[0, 0], [1, 5]", "[0, 0], [1]", "from this many, points"),
    "thresholds": ("SEV1: 70", "SEV1: 100", "less than 100"),
    "no last threshold": ("SEV4: 0", "SEV4: 1", "must be 0"),
    "level": ("at_least: SEV1", "at_least: SEV9", "'SEV9' is none of"),
    "floor field": ("{when: {details: effect, p", "{when: {detail: effect, p", "unknown key"),
    "floor value": ("privacy: personal, details", "privacy: personnel, details", "none of"),
    "floor always": ("{when: {privacy: personal, details: effect}", "{when: {}", "always hold"),
    "floor never": ("privacy: personal, details", "privacy: [], details", "never hold"),
    "twice": ("floors:\n", "floors:\n  F1: {when: {details: effect}, at_least: SEV1}\n", "twice"),
    "not yaml": ("floors:", "floors: }", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BROKEN_SEVERITY))
def test_a_broken_severity_policy_is_refused(name: str) -> None:
    old, new, reason = BROKEN_SEVERITY[name]
    assert old in SEVERITY
    broken = SEVERITY.replace(old, new, 1)
    with pytest.raises(FileError) as refused:
        parse_severity_policy(broken, "p.yaml")
    assert reason in refused.value.reason
    assert f"p.yaml, line {refused.value.line}:" in str(refused.value)


def test_the_line_is_the_one_that_is_wrong() -> None:
    broken = SEVERITY.replace("standard: 0", "standard: nought")
    line = next(n for n, text in enumerate(broken.splitlines(), 1) if "nought" in text)
    with pytest.raises(FileError) as refused:
        parse_severity_policy(broken)
    assert refused.value.line == line
    assert refused.value.reason.startswith("criteria.region.standard: ")


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: &x 1\nb: *x", "a: [}"])
def test_what_is_no_policy_at_all_is_refused(text: str) -> None:
    for parse in (parse_severity_policy, parse_priority_policy, parse_directory):
        with pytest.raises(FileError):
            parse(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  recoverability: {", "  recovery: {"),
        ("level: P5", "level: P6"),
        ("H1: {when: {functional: high}", "H1: {when: {functional: highest}"),
        ("P4: 0", "P4: 1"),
        ("functional: {none: 0", "functional: {none: x"),
    ],
)
def test_a_broken_priority_policy_is_refused(old: str, new: str) -> None:
    assert old in PRIORITY
    with pytest.raises(FileError):
        parse_priority_policy(PRIORITY.replace(old, new, 1))


def test_the_digest_is_of_the_content_not_of_the_text() -> None:
    commented = "# another comment\n" + SEVERITY.replace("{server: 2,", "{ server:   2,")
    assert parse_severity_policy(commented).digest == severity_policy().digest
    changed = SEVERITY.replace("server: 2,", "server: 3,")
    assert parse_severity_policy(changed).digest != severity_policy().digest


def test_a_policy_is_frozen() -> None:
    policy = severity_policy()
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.version = "other"  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        policy.criteria["privacy"] = policy.criteria["region"]  # type: ignore[index]  # same


def test_a_file_that_is_not_there_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        load_severity_policy(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"policy: \xff")
    with pytest.raises(FileError, match="UTF-8"):
        load_severity_policy(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  global: sr-global\n", ""),
        ("default_service_team: platform\n", ""),
        ("  legal: legal\n", ""),
        ("tier: tier0", "tier: tier9"),
        ("gov: sovereign", "gov: secret"),
        ("{region: us-east, team: sr-americas}", "{team: sr-americas}"),
        ("{region: us-east, team: sr-americas}", "{region: us-east}"),
    ],
)
def test_a_broken_directory_is_refused(old: str, new: str) -> None:
    assert old in DIRECTORY
    with pytest.raises(FileError):
        parse_directory(DIRECTORY.replace(old, new, 1))


def test_the_shipped_directories_are_right() -> None:
    assert load_directory().security_response(["any"], []) == "security-response"
    example = load_directory(SHIPPED_DIRECTORY.parent / "examples" / "directory.yml")
    assert example.tier(["id", "mail"]) == "tier0"
