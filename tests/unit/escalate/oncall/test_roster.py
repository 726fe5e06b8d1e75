"""People, teams and schedules: read whole or refused with a line; gaps and coverage (R06)."""

from datetime import UTC, datetime, timedelta

import pytest

from services.escalate.directory import load_directory, parse_directory
from services.escalate.file_spots import FileError
from services.escalate.oncall.coverage import AHEAD, coverage, gap_report
from tests.unit.escalate.oncall.given import STAFFED, staffed

pytestmark = pytest.mark.unit
MONDAY = datetime(2026, 1, 12, 12, tzinfo=UTC)


def test_first_and_second_on_call() -> None:
    roster = staffed().roster
    assert roster.on_duty(roster.team("sr-global"), MONDAY) == ("cy", "ana")
    night = MONDAY + timedelta(hours=9)
    assert roster.on_duty(roster.team("sr-global"), night) == ("bo", "ana")
    assert roster.on_duty(roster.team("nobody knows it"), MONDAY) == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("competencies: [network", "skills: [network", "unknown key"),
        ("people: [ana, bo]\n        zone", "people: [ana, zoe]\n        zone", "no person 'zoe'"),
        ("zone: Europe/Berlin", "zone: Europe/Atlantis", "no time zone"),
        ("length: {weeks: 1}", "length: {weeks: 0}", "from an hour to a year"),
        ("length: {weeks: 1}", "length: {weeks: 1, days: 1}", "must be one of"),
        ('start: "2026-01-05"', 'start: "2026-02-30"', "is not a date"),
        ('handover: "09:00"', 'handover: "24:00"', "is not a time"),
        ("to: ana@example.org", "to: ana", "not an e-mail address"),
        ("to: bo-hook", "to: https://hooks.example/x", "those are secrets"),
        ("primary: sr-first", "primary: sr-third", "no schedule 'sr-third'"),
        ("    primary: sr-first\n", "", "without a primary"),
        ("kind: legal", "kind: Legal Team", "small letters"),
        ("days: [mon, tue", "days: [mon, mon", "names no day, or one twice"),
        (
            '{days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00"}',
            '{days: [mon, tue], from: "09:00", to: "17:00"}\n'
            '          - {days: tue, from: "16:00", to: "18:00"}',
            "overlap",
        ),
        (
            "        active:\n"
            '          - {days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00"}\n',
            "",
            "is never reached",
        ),
        ("components: [router]", "components: [switch]", "none of"),
        ("  ana:\n", "  ana:\n    slack_user: ana\n", "no member id of Slack"),
        ("  ana:\n", "  ana:\n    pagerduty_user: ana@x\n", "no id of a user of PagerDuty"),
        (
            "  ana:\n",
            "  zed: {pagerduty_user: PX12, contacts: [{channel: slack, to: z}]}\n"
            "  ana:\n    pagerduty_user: PX12\n",
            "that of zed already",
        ),
    ],
)
def test_a_broken_directory_is_refused_with_its_line(old: str, new: str, reason: str) -> None:
    assert old in STAFFED
    text = STAFFED.replace(old, new, 1)
    with pytest.raises(FileError) as refused:
        parse_directory(text, "d.yml")
    assert reason in refused.value.reason
    assert 1 < refused.value.line <= len(text.splitlines())


def test_coverage_names_the_component_that_the_last_expert_left() -> None:
    directory = staffed()
    before = coverage(
        directory.roster, directory.service_teams, directory.teams, MONDAY, MONDAY + AHEAD
    )
    assert "router" not in [f.name for f in before if f.why == "nobody_competent"]
    without = parse_directory(STAFFED.replace("[network, router]", "[network]"))
    after = coverage(without.roster, without.service_teams, without.teams, MONDAY, MONDAY + AHEAD)
    (router,) = [f for f in after if f.name == "router"]
    assert (router.what, router.why) == ("component", "nobody_competent")
    assert router.spans == ((MONDAY, MONDAY + AHEAD),)


def test_coverage_of_services_and_kinds() -> None:
    directory = staffed()
    found = coverage(
        directory.roster, directory.service_teams, directory.teams, MONDAY, MONDAY + AHEAD
    )
    services = {f.name for f in found if f.what == "service"}
    assert services == {"id", "mail"}  # api has its team's schedule
    kinds = {f.name: f.why for f in found if f.what == "kind"}
    assert "legal" not in kinds
    assert kinds["threat_intelligence"] == "no_team"
    assert kinds["forensics"] == "no_team"  # a seventh kind, by data


def test_the_gap_report_wants_a_second_where_the_depth_is_needed() -> None:
    directory = staffed()
    found = gap_report(
        directory.roster, directory.critical_teams(), MONDAY, MONDAY + timedelta(days=7)
    )
    assert [f.why for f in found if f.name == "sr-global"] == []
    same = parse_directory(STAFFED.replace("secondary: sr-second", "secondary: sr-first"))
    found = gap_report(same.roster, same.critical_teams(), MONDAY, MONDAY + timedelta(days=7))
    assert "second_is_first" in [f.why for f in found if f.name == "sr-global"]
    none = parse_directory(STAFFED.replace("    secondary: sr-second\n", ""))
    found = gap_report(none.roster, frozenset({"api"}), MONDAY, MONDAY + timedelta(days=7))
    assert {(f.name, f.why) for f in found} == {
        ("sr-global", "no_secondary"), ("api", "no_secondary"),
    }  # fmt: skip


def test_the_shipped_directory_has_no_people_and_still_answers() -> None:
    directory = load_directory()
    assert directory.roster.teams == {}
    assert directory.kind_of("security-response") == "security_response"
    assert directory.kind_of("legal") == "legal"
