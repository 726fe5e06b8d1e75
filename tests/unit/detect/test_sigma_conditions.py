"""Checklist points 70 to 78: the condition."""

import pytest

from tests.support.sigma import fires, refusal

pytestmark = pytest.mark.unit

NAMES = ("a", "b", "c")


def _fires(condition: str, true: str, names: tuple[str, ...] = NAMES) -> bool:
    """Return whether *condition* holds where the selections named in *true* do."""
    lines = [f"{name}: {{f_{name}: 1}}" for name in names]
    event = {f"f_{name}": 1 for name in true.split()}
    return fires("\n".join([*lines, f"condition: {condition}"]), event)


def _refusal(condition: str, names: tuple[str, ...] = NAMES) -> str:
    lines = [f"{name}: {{f_{name}: 1}}" for name in names]
    return refusal("\n".join([*lines, f"condition: {condition}"])).reason


def test_point_70_not_binds_more_than_and_more_than_or() -> None:
    assert _fires("a or b and c", "a")
    assert not _fires("a or b and c", "b")
    assert _fires("not a and b", "b")
    assert not _fires("not a and b", "")
    assert _fires("not a or b", "a b")
    assert _fires("not not a", "a")


def test_point_71_parentheses() -> None:
    assert not _fires("(a or b) and c", "a")
    assert _fires("(a or b) and c", "a c")
    assert _fires("not (a and b)", "a")
    assert not _fires("not(a and b)", "a b")
    assert "not closed" in _refusal("(a and b")
    assert "unexpected" in _refusal("a and b)")
    assert "missing" in _refusal("a and ()")
    assert "deeper" in _refusal("(" * 40 + "a" + ")" * 40)
    assert "deeper" in _refusal("not " * 40 + "a")


def test_point_72_operators_in_any_case() -> None:
    assert _fires("a AND b", "a b")
    assert not _fires("a And NOT b", "a b")
    assert _fires("a OR b", "b")
    assert _fires("1 OF Them", "b")
    assert _fires("ALL of them", "a b c")
    assert "missing" in _refusal("a and")
    assert "missing" in _refusal("or a")
    assert "unexpected" in _refusal("a b")
    assert "empty" in _refusal("''")


def test_point_73_them_skips_underscores() -> None:
    names = ("a", "b", "_c")
    assert _fires("1 of them", "b", names)
    assert not _fires("1 of them", "_c", names)
    assert _fires("all of them", "a b", names)
    assert not _fires("all of them", "a", names)
    assert _fires("any of them", "a", names)
    assert "no selection fits" in _refusal("1 of them", ("_c",))


def test_point_74_patterns_of_names() -> None:
    names = ("sel_a", "sel_b", "filter_a")
    assert _fires("1 of sel_*", "sel_b", names)
    assert not _fires("1 of sel_*", "filter_a", names)
    assert _fires("all of sel_*", "sel_a sel_b", names)
    assert not _fires("all of sel_*", "sel_a", names)
    assert _fires("all of *_a", "sel_a filter_a", names)
    assert _fires("1 of s*_b", "sel_b", names)
    assert _fires("1 of sel_a", "sel_a", names)
    assert not _fires("1 of sel", "sel_a", ("sel_a", "sel"))
    assert "no selection fits" in _refusal("1 of other*", names)
    assert "no selection fits" in _refusal("1 of SEL_*", names)
    assert not _fires("1 of *", "_x", ("_x", "y"))
    assert _fires("1 of _*", "_x", ("_x", "y"))


def test_point_74_counts() -> None:
    assert _fires("2 of them", "a c")
    assert not _fires("2 of them", "a")
    assert "only 3" in _refusal("4 of them")
    assert "no quantifier" in _refusal("0 of them")
    assert "no quantifier" in _refusal("some of them")
    assert "needs 'them'" in _refusal("1 of")
    assert "needs 'them'" in _refusal("1 of (a)")


def test_point_75_names_like_keywords_or_with_dashes() -> None:
    names = ("order", "and-more", "notes", "all", "1", "them")
    assert _fires("order and notes", "order notes", names)
    assert _fires("and-more", "and-more", names)
    assert _fires("all", "all", names)
    assert not _fires("1", "all", names)
    assert _fires("1 or all", "1", names)
    assert _fires("them", "them", names)
    assert "cannot be called" in _refusal("a", ("a", "not"))
    assert "no selection 'x-y'" in _refusal("x-y")


def test_point_76_a_list_of_conditions_is_or() -> None:
    assert _fires("[a and b, c]", "c")
    assert _fires("[a and b, c]", "a b")
    assert not _fires("[a and b, c]", "a")
    assert "empty" in _refusal("[]")
    assert "text" in _refusal("{a: b}")
    assert "text" in _refusal("null")


def test_point_77_one_of_counts_selections_not_their_maps() -> None:
    detection = """
        sel_a:
          - {x: 1}
          - {y: 1}
        sel_b: {z: 1}
        condition: %s of sel_*
    """
    assert fires(detection % "1", {"y": 1})
    assert not fires(detection % "2", {"x": 1, "y": 1})
    assert fires(detection % "all", {"y": 1, "z": 1})


def test_point_78_old_aggregations_are_refused() -> None:
    for condition in ("a | count() > 5", "a | count(x) by y > 5", "a | near b", "a|sum(x) > 1"):
        assert "use a correlation rule" in _refusal(condition)
    assert "use a correlation rule" in refusal("a: {f: 1}\ntimeframe: 5m\ncondition: a").reason


def test_conditions_are_bounded_and_needed() -> None:
    assert "longer than" in _refusal(" or ".join(["a"] * 2000))
    many = tuple(f"s{number}" for number in range(500))
    assert "stands for more than" in _refusal(" or ".join(["1 of s*"] * 5), many)
    assert "'condition' is missing" in refusal("a: {f: 1}").reason
    assert "no selection 'z'" in _refusal("a and z")
