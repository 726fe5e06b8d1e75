"""Checklist points 48 to 58: regular expressions, networks, references to other fields."""

import time

import pytest

from tests.support.sigma import holds, refused

pytestmark = pytest.mark.unit


def test_point_48_regex_is_a_search_and_case_counts() -> None:
    assert holds("f|re: 'APT[0-9]'", "group APT1!")
    assert not holds("f|re: 'APT[0-9]'", "group apt1!")
    assert not holds("f|re: '^APT'", "group APT1")
    assert holds("f|re: ['x', 'APT']", "APT")
    assert holds("f|re: '^4624$'", 4624)


def test_point_49_regex_flags() -> None:
    assert holds("f|re|i: 'apt'", "APT")
    assert not holds("f|re: '^b'", "a\nb")
    assert holds("f|re|m: '^b'", "a\nb")
    assert not holds("f|re: 'a.b'", "a\nb")
    assert holds("f|re|s: 'a.b'", "a\nb")
    assert holds("f|re|i|m|s: '^B.C$'", "a\nb\nc\nd")
    assert "only for 're'" in refused("f|i: 'apt'")
    assert "only for 're'" in refused("f|contains|m: 'apt'")


def test_point_50_nothing_may_stand_before_re() -> None:
    assert "before 're'" in refused("f|all|re: ['a', 'b']")
    assert "cannot be combined" in refused("f|contains|re: 'a'")
    assert "cannot be combined" in refused("f|re|windash: 'a'")
    assert "cannot be combined" in refused("f|re|expand: '%a%'", {"a": ["x"]})


def test_point_51_backslashes_belong_to_the_expression() -> None:
    assert holds(r"f|re: 'C:\\\\Win'", r"C:\\Win")
    assert holds(r"f|re: '\\temp\\'", r"C:\temp\x")
    assert holds(r"f|re: 'a\*b'", "a*b")
    assert not holds(r"f|re: 'a\*b'", "aab")
    assert holds(r"f|re: '\d{3}\s\w'", "x 123 y")


def test_point_52_a_catastrophic_pattern_takes_linear_time() -> None:
    started = time.perf_counter()
    assert not holds("f|re: '(a+)+$'", "a" * 50_000 + "!")
    assert not holds("f: '*a*a*a*a*a*a*a*a*a*b'", "a" * 50_000)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("source", [r"(a)\1", "(?<=a)b", "(?=a)", "a++", "[", "(?P<x>a", "a{5000}"])
def test_point_53_what_re2_does_not_know_is_refused(source: str) -> None:
    assert "refused by RE2" in refused(f"f|re: '{source}'")


def test_point_53_size_is_bounded() -> None:
    assert "longer than 2048 bytes" in refused(f"f|re: '{'a' * 2049}'")
    assert "refused by RE2" in refused(r"f|re: '((\pL{500}){100}){10}'")


def test_point_54_cidr() -> None:
    assert holds("f|cidr: 10.0.0.0/8", "10.1.2.3")
    assert not holds("f|cidr: 10.0.0.0/8", "11.1.2.3")
    assert holds("f|cidr: 'fe80::/10'", "fe80::1%eth0")
    assert not holds("f|cidr: 'fe80::/10'", "2001:db8::1")
    assert holds("f|cidr: [10.0.0.0/8, 192.168.0.0/16]", "192.168.9.9")
    assert holds("f|cidr: 10.1.2.3/8", "10.9.9.9")
    assert holds("f|cidr: 10.0.0.0/8", "::ffff:10.1.2.3")
    assert holds("f|cidr: 10.0.0.1", "10.0.0.1")
    assert holds("f|cidr: 10.0.0.0/8", ["x", "10.0.0.9"])


def test_point_54_what_is_no_address_lies_in_no_network() -> None:
    for value in ("10.0.0", "10.0.0.1:443", "", "host", 167772161, None, True, "1" * 5000):
        assert not holds("f|cidr: 0.0.0.0/0", {"f": value})
    assert not holds("f|cidr: 0.0.0.0/0", {})
    assert not holds("f|cidr: 0.0.0.0/0", "::1")
    assert "no network" in refused("f|cidr: 10.0.0.0/33")
    assert "no network" in refused("f|cidr: here")
    assert "wildcard" in refused("f|cidr: '10.*'")


def test_point_55_fieldref_is_equality_without_case() -> None:
    assert holds("f|fieldref: g", {"f": "Eve", "g": "EVE"})
    assert holds("f|fieldref: g", {"f": 5, "g": "5"})
    assert holds("f|fieldref: [g, h]", {"f": "x", "g": "y", "h": "x"})
    assert holds("f|fieldref: g.h", {"f": "x", "g": [{"h": "y"}, {"h": "x"}]})
    assert not holds("f|fieldref: g", {"f": "Eve", "g": "Mallory"})
    assert not holds("f|fieldref|cased: g", {"f": "Eve", "g": "EVE"})
    assert "name of a field" in refused("f|fieldref: 5")


def test_point_56_fieldref_with_affixes() -> None:
    assert holds("f|fieldref|startswith: g", {"f": "Evelyn", "g": "eve"})
    assert not holds("f|fieldref|startswith: g", {"f": "Steve", "g": "eve"})
    assert holds("f|fieldref|endswith: g", {"f": "Steve", "g": "EVE"})
    assert holds("f|contains|fieldref: g", {"f": "Steven", "g": "eve"})
    assert not holds("f|contains|fieldref: g", {"f": "eve", "g": "steven"})


def test_point_57_fieldref_neq() -> None:
    assert holds("f|fieldref|neq: g", {"f": "a", "g": "b"})
    assert not holds("f|fieldref|neq: g", {"f": "a", "g": "A"})
    assert not holds("f|fieldref|neq: g", {"g": "a"})


def test_point_58_two_absent_fields_are_not_the_same() -> None:
    assert not holds("f|fieldref: g", {})
    assert not holds("f|fieldref: g", {"f": None, "g": None})
    assert not holds("f|fieldref: g", {"f": "a"})
