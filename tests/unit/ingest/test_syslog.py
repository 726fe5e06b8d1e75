"""Text lines into fields."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lines.syslog import parse_line

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_rfc5424_with_structured_data() -> None:
    line = (
        "<34>1 2026-02-03T04:05:06.789+01:00 web1 su 77 ID47 "
        '[meta@1 user="al\\"ice" n="2"][x@2] \ufefffailed'
    )
    assert parse_line(line, NOW) == {
        "facility": "auth",
        "severity": "crit",
        "time": "2026-02-03T03:05:06.789000+00:00",
        "host": "web1",
        "program": "su",
        "pid": "77",
        "msgid": "ID47",
        "sd.meta@1.user": 'al"ice',
        "sd.meta@1.n": "2",
        "message": "failed",
    }


def test_rfc5424_with_nothing_known() -> None:
    assert parse_line("<13>1 - - - - - - hello", NOW) == {
        "facility": "user", "severity": "notice", "message": "hello",
    }  # fmt: skip


def test_rfc3164_takes_the_latest_year_that_is_not_in_the_future() -> None:
    fields = parse_line("<86>Feb  3 04:05:06 h sshd[9]: Accepted publickey", NOW)
    assert fields["time"] == "2026-02-03T04:05:06+00:00"
    assert (fields["program"], fields["pid"]) == ("sshd", "9")
    late = parse_line("Dec 31 23:59:59 h cron: job", NOW)
    assert late["time"] == "2025-12-31T23:59:59+00:00"
    leap = parse_line("Feb 29 00:00:00 h cron: job", NOW)
    assert leap["time"] == "2024-02-29T00:00:00+00:00"


def test_journald_short_iso() -> None:
    fields = parse_line("2026-01-02T03:04:05+0100 h sudo[1]: root : TTY=pts/0", NOW)
    assert fields["time"] == "2026-01-02T02:04:05+00:00"
    assert fields["program"] == "sudo"
    assert fields["message"] == "root : TTY=pts/0"


def test_a_line_of_no_known_form_is_all_message() -> None:
    assert parse_line("just words", NOW) == {"message": "just words"}
    assert parse_line("<999>x", NOW)["message"] == "<999>x"
    assert parse_line("Foo  3 04:05:06 h p: x", NOW)["message"] == "x"


@given(st.text(max_size=200))
def test_it_never_fails(line: str) -> None:
    assert isinstance(parse_line(line, NOW)["message"], str)
