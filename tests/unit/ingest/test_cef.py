"""CEF and LEEF as their makers document them, and as syslog wraps them."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.lines.cef import find_cef_or_leef
from shared.lines.syslog import parse_line

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CEF = (
    r"CEF:0|Security|threat\|manager|1.0|100|worm \\ stopped|10|src=10.0.0.1 msg=a b\=c\nd spt=1232"
)


def test_cef_header_and_extension() -> None:
    fields = find_cef_or_leef(CEF)
    assert fields == {
        "cef.version": "0", "cef.device_vendor": "Security",
        "cef.device_product": "threat|manager", "cef.device_version": "1.0",
        "cef.event_class_id": "100", "cef.name": "worm \\ stopped", "cef.severity": "10",
        "src": "10.0.0.1", "msg": "a b=c\nd", "spt": "1232",
    }  # fmt: skip


def test_custom_fields_go_by_their_label_too() -> None:
    fields = find_cef_or_leef("CEF:0|v|p|1|1|n|5|cs1Label=Policy cs1=very strict cn1=4")
    assert (fields["Policy"], fields["cs1"], fields["cn1"]) == ("very strict", "very strict", "4")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("LEEF:1.0|IBM|QRadar|7|Login|src=10.0.0.1\tusrName=al ice", {"usrName": "al ice"}),
        ("LEEF:2.0|IBM|QRadar|7|Login|^|src=10.0.0.1^usrName=alice", {"usrName": "alice"}),
        ("LEEF:2.0|IBM|QRadar|7|Login|x5E|src=10.0.0.1^usrName=alice", {"usrName": "alice"}),
        ("LEEF:2.0|IBM|QRadar|7|Login|0x09|src=10.0.0.1\tusrName=a=b", {"usrName": "a=b"}),
    ],
)
def test_leef_with_every_delimiter(message: str, expected: dict[str, str]) -> None:
    fields = find_cef_or_leef(message)
    assert fields["leef.event_id"] == "Login"
    assert fields["src"] == "10.0.0.1"
    assert expected.items() <= fields.items()


@pytest.mark.parametrize("text", ["", "CEF:0|too|short", "hello", "CEF:|a|b", "LEEF:1.0|x"])
def test_what_is_neither_has_no_fields(text: str) -> None:
    assert find_cef_or_leef(text) == {}


@pytest.mark.parametrize(
    "line",
    [
        f"<134>1 2026-01-02T03:04:05Z fw app 1 - - {CEF}",
        f"<134>Jan  2 03:04:05 fw {CEF}",
        f"2026-01-02T03:04:05Z fw {CEF}",
    ],
)
def test_inside_of_syslog(line: str) -> None:
    fields = parse_line(line, NOW)
    assert (fields["host"], fields["src"], fields["message"]) == ("fw", "10.0.0.1", CEF)
    assert fields["cef.event_class_id"] == "100"
    assert str(fields["time"]).startswith("2026-01-02T03:04:05")


def test_an_extension_never_replaces_what_syslog_says() -> None:
    fields = parse_line("<134>Jan  2 03:04:05 fw CEF:0|v|p|1|1|n|5|host=evil time=x", NOW)
    assert fields["host"] == "fw"
    assert str(fields["time"]).startswith("2026")


@example("||||||")  # an extension without any key
@given(st.text(alphabet="CEFL:0|=\\ x^\t\n", max_size=80))
def test_no_text_is_an_error(text: str) -> None:
    find_cef_or_leef("CEF:0|" + text)
    find_cef_or_leef("LEEF:2.0|" + text)
