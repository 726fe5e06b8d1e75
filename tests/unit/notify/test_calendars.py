"""Holiday calendars: the files are what the generator makes, and a wrong one is refused."""

from datetime import date

import pytest

from services.notify.obligations.calendars import parse_calendar, shipped_calendar
from shared.yaml_lines import LineError
from tests.support.holiday_calendars import FOLDER, rendered

pytestmark = pytest.mark.unit


def test_the_files_are_those_that_make_calendars_writes() -> None:
    files = {path.stem: path.read_text("utf-8") for path in FOLDER.glob("*.yml")}
    assert files == rendered()


@pytest.mark.parametrize(
    ("calendar", "day", "why"),
    [
        ("us-federal", date(2026, 7, 3), "Independence Day (observed)"),
        ("us-federal", date(2026, 7, 6), None),
        ("de", date(2026, 4, 3), "Good Friday"),
        ("jp", date(2026, 12, 30), "closure day"),
        ("sa", date(2026, 3, 6), "Friday"),
        ("hu", date(2026, 1, 10), None),  # a Saturday that was made a working day
        ("weekends", date(2026, 12, 25), None),
    ],
)
def test_days(calendar: str, day: date, why: str | None) -> None:
    assert shipped_calendar(calendar).closed(day) == why


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("id: x\nversion: '1'\nweekend: [caturday]", 3, "no day of the week"),
        ("id: x\nversion: '1'\nholidays:\n  2026-02-30: x", 4, "not a date"),
        ("id: x\nversion: '1'\nclosures: ['13-01']", 3, "not a date"),
        ("id: x\nversion: '1'\nholiday: []", 3, "unknown key"),
    ],
)
def test_a_wrong_calendar_is_refused_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(LineError, match=why) as refused:
        parse_calendar(text)
    assert refused.value.line == line
