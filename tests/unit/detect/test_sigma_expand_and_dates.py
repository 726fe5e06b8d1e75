"""Checklist points 59 to 62: placeholders and parts of dates."""

import pytest

from tests.support.sigma import holds, refused

pytestmark = pytest.mark.unit

NAMES = {"admins": ["root", "adm*"], "zones": ["a", "b"], "empty": [], "nets": ["10.0.0.0/8"]}


def test_point_59_placeholders_become_their_values() -> None:
    assert holds("f|expand: '%admins%'", "ROOT", NAMES)
    assert holds("f|expand: '%admins%'", "administrator", NAMES)
    assert not holds("f|expand: '%admins%'", "eve", NAMES)
    assert holds("f|expand: 'srv-%zones%-%zones%'", "srv-b-a", NAMES)
    assert not holds("f|expand: 'srv-%zones%-%zones%'", "srv-b-c", NAMES)
    assert holds("f|contains|expand: '%zones%!'", "xxb!x", NAMES)
    assert holds("f|cidr|expand: '%nets%'", "10.1.1.1", NAMES)
    assert holds("f|expand: ['%zones%', plain]", "plain", NAMES)


def test_point_59_the_product_of_placeholders_is_bounded() -> None:
    many = {"many": [str(number) for number in range(200)]}
    assert "more than" in refused("f|expand: '%many%%many%%many%'", many)


def test_point_60_an_unresolved_placeholder_refuses_the_rule() -> None:
    assert "%nobody% has no values" in refused("f|expand: '%nobody%'", NAMES)
    assert "%empty% has no values" in refused("f|expand: 'x%empty%'", NAMES)


def test_point_61_percent_signs_without_expand_are_plain() -> None:
    assert holds("f: '%admins%'", "%admins%", NAMES)
    assert not holds("f: '%admins%'", "root", NAMES)
    assert holds(r"f|expand: '\%plain%zones%'", "%plaina", NAMES)
    assert holds("f|expand: '100%'", "100%", NAMES)


def test_point_62_parts_of_dates() -> None:
    stamp = "2024-12-30T23:59:07.123+05:00"
    assert holds("f|minute: 59", stamp)
    assert holds("f|hour: 23", stamp)
    assert holds("f|day: 30", stamp)
    assert holds("f|month: 12", stamp)
    assert holds("f|year: 2024", stamp)
    assert not holds("f|hour: 18", stamp)
    assert not holds("f|year: 2025", stamp)


def test_point_62_weeks_are_iso_weeks() -> None:
    assert holds("f|week: 1", "2024-12-30 00:00:00")
    assert holds("f|week: 53", "2021-01-01T00:00:00Z")
    assert not holds("f|week: 1", "2021-01-01T00:00:00Z")


def test_point_62_parts_can_be_ordered() -> None:
    assert holds("f|hour|gte: 22", "2024-05-01T22:00")
    assert not holds("f|hour|gte: 22", "2024-05-01T21:59")
    assert holds("f|hour|lt: 6", "2024-05-01 05:59:59")
    assert holds("f|day|neq: 1", "2024-05-02")
    assert holds("f|hour: [1, 2]", "2024-05-01T02:00Z")


def test_point_62_what_is_no_date_has_no_parts() -> None:
    for value in ("yesterday", "2024-13-01T00:00", "2024-02-30 00:00", 1714521600, None, ""):
        assert not holds("f|hour|gte: 0", {"f": value})
    assert not holds("f|hour: 0", "2024-05-01")
    assert not holds("f|hour: 0", {})
    assert "lies between 0 and 23" in refused("f|hour: 24")
    assert "lies between 1 and 53" in refused("f|week: 0")
    assert "takes a number" in refused("f|hour: noon")
    assert "cannot be combined" in refused("f|hour|contains: 1")
    assert "exclude each other" in refused("f|hour|minute: 1")
