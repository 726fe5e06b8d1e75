"""Checklist points 14 to 25: null, existence, numbers and truth values."""

import math
from typing import Any

import pytest

from tests.support.sigma import fires, holds, refused

pytestmark = pytest.mark.unit


def test_point_14_null_is_absent_or_null() -> None:
    assert holds("f: null", {})
    assert holds("f:", {"f": None})
    assert holds("f: null", {"f": ["x", None]})
    assert not holds("f: null", "x")
    assert not holds("f: null", {"f": []})
    assert not holds("f: null", {"f": {"an": "object"}})


def test_point_15_null_is_not_empty() -> None:
    assert not holds("f: null", "")
    assert not holds("f: ''", {"f": None})
    assert not holds("f: 'null'", {"f": None})
    assert holds("f: 'null'", "null")


def test_point_16_null_in_a_list_is_refused() -> None:
    assert "null cannot be part of a list" in refused("f: ['', null]")
    assert "null cannot be part of a list" in refused("f: [null]")
    assert "null cannot be used" in refused("f|contains: null")
    assert "null cannot be used" in refused("f|exists: null")


def test_point_17_exists() -> None:
    values: list[Any] = ["x", "", None, [], {}, 0, False]
    for value in values:
        assert holds("f|exists: true", {"f": value})
        assert not holds("f|exists: false", {"f": value})
    assert holds("f|exists: false", {})
    assert not holds("f|exists: true", {"g": 1})
    assert "takes true or false" in refused("f|exists: 'yes'")
    assert "takes true or false" in refused("f|exists: [true, false]")
    assert "cannot be combined" in refused("f|exists|contains: true")


def test_point_18_not_filter_fires_where_its_field_is_absent() -> None:
    detection = """
        selection:
          a: 1
        filter:
          b: trusted
        condition: selection and not filter
    """
    assert fires(detection, {"a": 1})
    assert fires(detection, {"a": 1, "b": "other"})
    assert not fires(detection, {"a": 1, "b": "trusted"})


def test_point_19_numbers_and_their_texts_are_alike() -> None:
    assert holds("f: 4624", "4624")
    assert holds("f: '4624'", 4624)
    assert holds("f: 4624", 4624)
    assert holds("f|startswith: 46", 4624)
    assert not holds("f: 4624", "04624")
    assert not holds("f: '4624'", 4625)


def test_point_20_hex_stays_text() -> None:
    assert holds("f: '0x3e7'", "0x3E7")
    assert not holds("f: '0x3e7'", 999)
    # Also where the author left out the quotes: logs write it as text.
    assert holds("f: 0x3e7", "0x3e7")
    assert not holds("f: 0x3e7", 999)
    assert holds("f: 00000429", "00000429")
    assert not holds("f: 00000429", "429")
    assert "takes a number" in refused("f|gt: 0x10")


def test_point_21_truth_values() -> None:
    assert holds("f: true", True)
    assert holds("f: true", "True")
    assert holds("f: 'true'", True)
    assert holds("f: false", False)
    assert not holds("f: true", 1)
    assert not holds("f: 1", True)
    assert not holds("f: true", "yes")
    assert holds("f: yes", "YES")


def test_point_22_whole_floats() -> None:
    assert holds("f: 1.0", 1)
    assert holds("f: 1", 1.0)
    assert holds("f: 1.0", "1.0")
    assert holds("f: '1.0'", 1.0)
    assert holds("f: 1.5", 1.5)
    assert holds("f: 1.10", "1.10")
    assert not holds("f: 1.5", 1)
    assert not holds("f: 1", "1.0")


def test_point_23_order_of_numbers() -> None:
    assert holds("f|gt: 5", 6)
    assert not holds("f|gt: 5", 5)
    assert holds("f|gte: 5", "5")
    assert not holds("f|gte: 5", "4.99")
    assert holds("f|lt: 5", "-1")
    assert not holds("f|lt: 5", 5)
    assert holds("f|lte: 5.5", 5.5)
    assert not holds("f|lte: 5.5", 5.6)
    assert holds("f|gt: 5", [1, 9])


def test_point_23_what_is_no_number_has_no_order() -> None:
    values: list[Any] = ["abc", "", "0x10", "5 ", True, None, {}, [], math.nan, "१२", "9" * 10_000]
    for value in values:
        assert not holds("f|gt: 1", {"f": value})
        assert not holds("f|lte: 1", {"f": value})
    assert not holds("f|lt: 1", {})
    assert "takes a number" in refused("f|gt: 'abc'")
    assert "takes a number" in refused("f|gt: true")
    assert "exclude each other" in refused("f|gt|lt: 1")


def test_point_24_neq() -> None:
    assert holds("f|neq: a", "b")
    assert not holds("f|neq: a", "A")
    assert holds("f|neq: [a, b]", "c")
    assert not holds("f|neq: [a, b]", "b")
    assert holds("f|neq: 5", 6)
    assert not holds("f|neq: 5", "5")
    assert not holds("f|neq: a", ["b", "a"])
    assert holds("f|contains|neq: evil", "good")
    assert not holds("f|contains|neq: evil", "devilish")
    assert holds("f|re|neq: '^a'", "b")
    assert holds("f|cidr|neq: 10.0.0.0/8", "192.168.0.1")
    assert "adds nothing" in refused("f|all|neq: [a, b]")
    assert "cannot be combined" in refused("f|gt|neq: 1")


def test_point_24_neq_speaks_of_a_field_that_is_there() -> None:
    assert not holds("f|neq: a", {})
    assert holds("f|neq: a", {"f": None})
    assert holds("f|neq: null", "x")
    assert not holds("f|neq: null", {})
    assert not holds("f|neq: null", {"f": None})


def test_point_25_numbers_beyond_doubles_are_exact() -> None:
    assert holds("f: 9007199254740993", 9007199254740993)
    assert not holds("f: 9007199254740993", 9007199254740992)
    assert holds("f|gt: 9007199254740992", 9007199254740993)
    assert not holds("f|gt: 9007199254740993", "9007199254740993")
    assert holds("f: 123456789012345678901234567890", 123456789012345678901234567890)
    assert not holds("f: 1", 10**6000)
