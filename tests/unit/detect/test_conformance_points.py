"""The 104 points of the conformance checklist: what fires, what does not, what is refused.

Points of the single rule stand in the table; points that need a stream, several rules or files name
the tests that hold them. The last test counts: a point without its tests fails it.
"""

import ast
from base64 import b64encode
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.sigma import fires, holds, refusal, refused

pytestmark = pytest.mark.unit


class Point(NamedTuple):
    """*text* is a selection, or with a condition in it a whole detection section."""

    number: int
    text: str
    yes: Any
    no: Any
    bad: str = ""
    reason: str = ""


def _b64(text: str, codec: str = "utf-8", before: bytes = b"") -> str:
    return b64encode(before + text.encode(codec)).decode()


VALUES = {"admins": ["ann", "bob"]}
ABC = "a: {a: 1}\nb: {b: 1}\nc: {c: 1}\ncondition: "

TABLE = [
    Point(1, "f: STRASSE Ä", "strasse ä", "straße ä"),
    Point(2, "f|cased|contains: ABC", "xABCx", "xabcx", "f|cased|re: a", "be combined with 're'"),
    Point(3, "f: 150", "150", "1500"),
    Point(4, "f: a*c?e", "a\nb\nc\ne", "abce"),
    Point(5, r"f: a\*b\?", "a*b?", "axb?"),
    Point(6, r"f: a\\*", "a\\xyz", "axyz"),
    Point(7, r"f: a\\\*", r"a\*", r"a\x"),
    Point(8, r"f: C:\\Windows\System32", r"C:\Windows\System32", r"C:\\Windows\System32"),
    Point(9, "f|contains: \\Desktop\\", r"C:\Desktop\x", r"C:\Desktopx"),
    Point(10, r"f: \\\\*\\IPC$", r"\\srv\IPC$", r"\srv\IPC$"),
    Point(11, "f|endswith: a*d", "xxabcd", "xxabcdx"),
    Point(12, "f|contains: '*abc*'", "xabcx", "xabx"),
    Point(13, "f: ''", "", {}),
    Point(14, "f: null", {}, "x"),
    Point(15, "f: null", None, ""),
    Point(16, "f: [a, b]", "a", None, "f: [a, null]", "null"),
    Point(17, "f|exists: true", "", {}, "f|exists: maybe", "exists"),
    Point(
        18,
        "selection: {a: 1}\nfilter: {b: 2}\ncondition: selection and not filter",
        {"a": 1},
        {"a": 1, "b": 2},
    ),
    Point(19, "f: 4624", "4624", 46240),
    Point(20, "f: 0x3e7", "0x3E7", 999),
    Point(21, "f: true", True, 1),
    Point(22, "f: 1", 1.0, 1.5),
    Point(23, "f|gte: 5", "7", "many", "f|gte: many", "number"),
    Point(24, "f|neq: [a, b]", "c", "a"),
    Point(25, "f: 9007199254740993", 9007199254740993, 9007199254740992),
    Point(26, "f: [a, b]", "b", "c", "f: []", "empty"),
    Point(27, "f|contains|all: [a, b]", "xbya", "xb"),
    Point(28, "f|contains|all: [a, b]", "ab", "a", "f|contains|all: a", "all"),
    Point(29, "a: 1\nb: 2", {"a": 1, "b": 2}, {"a": 1}),
    Point(
        30,
        "s: [{a: 1, b: 2}, {c: 3}]\ncondition: s",
        {"c": 3},
        {"a": 1},
        "s: []\ncondition: s",
        "empty",
    ),
    Point(
        31,
        "s: [{a: 1}, evil]\ncondition: s",
        {"z": "so evil"},
        {"a": 2},
        "s: [[evil]]\ncondition: s",
        "not lists",
    ),
    Point(32, "f: 1", 1, 2, "f: 1\nf: 2", "stands twice"),
    Point(
        33,
        "s: [evil]\ncondition: s",
        {"a": {"b": ["x evil y"]}},
        {"evil": "x"},
        "s: ['']\ncondition: s",
        "empty keyword",
    ),
    Point(
        34,
        "s: {'|all': [one, two]}\ncondition: s",
        {"x": "one", "y": "two"},
        {"x": "one"},
        "s: {'|all': one}\ncondition: s",
        "all",
    ),
    Point(35, "s: ['ev*l']\ncondition: s", {"x": "so ev1l"}, {"x": "vl"}),
    Point(36, "s: [4625]\ncondition: s", {"x": 4625}, {"x": 4624}),
    Point(
        38,
        "f|wide|base64offset|contains: foo",
        _b64("foo", "utf-16-le", b"ab"),
        _b64("foo", before=b"ab"),
        "f|base64|wide: foo",
        "wide",
    ),
    Point(39, "f|base64: foobar", "Zm9vYmFy", "foobar"),
    Point(
        40,
        "f|base64offset|contains: foobar",
        _b64("xfoobary"),
        _b64("xfoobay"),
        "f|base64offset|contains: a",
        "short",
    ),
    Point(
        41,
        "f|utf16be|base64offset|contains: foo😀",
        _b64("foo😀", "utf-16-be", b"x"),
        _b64("foo😀", "utf-16-le", b"x"),
    ),
    Point(42, "f|base64: foobar", "Zm9vYmFy", "Zm9v", "f|base64: foo*", "wildcard"),
    Point(43, "f|wide|base64: foo", _b64("foo", "utf-16-le"), "foo", "f|wide: foo", "base64"),
    Point(44, "f|base64: foobar", "zm9vymfy", "zm9vymfz"),
    Point(45, "f|windash|contains: ' -x'", "run –x", "run +x"),
    Point(46, "f|windash|contains: foo-bar", "foo/bar", "foo bar"),
    Point(47, "f|contains|all|windash: [' -a', ' -b']", "x /a –b", "x /a"),
    Point(48, "f|re: b+c", "abbcd", "aBBCd"),
    Point(49, "f|re|i: b+c", "aBBCd", "bd", "f|i: x", "'i'"),
    Point(50, "f|re: b", "abc", "a", "f|contains|re: b", "be combined with 're'"),
    Point(51, r"f|re: a\\b\.c", r"a\b.c", r"a\bxc"),
    Point(52, "f|re: ^(a+)+$", "aaaa", "a" * 50_000 + "b"),
    Point(53, "f|re: a.c", "abc", "ac", "f|re: (?=a)b", "(?="),
    Point(
        54,
        "f|cidr: [10.1.2.3/8, 'fe80::/10']",
        "::ffff:10.9.9.9",
        "nonsense",
        "f|cidr: 10.0.0.0/99",
        "network",
    ),
    Point(55, "a|fieldref: b", {"a": "X", "b": "x"}, {"a": "x", "b": "y"}),
    Point(56, "a|fieldref|endswith: b", {"a": "xY", "b": "y"}, {"a": "yx", "b": "y"}),
    Point(57, "a|fieldref|neq: b", {"a": "x", "b": "y"}, {"a": "x", "b": "X"}),
    Point(58, "a|fieldref: b", {"a": "x", "b": "x"}, {}),
    Point(59, "f|expand: '%admins%'", "Bob", "eve"),
    Point(60, "f|expand: 'adm_%admins%'", "adm_ann", "ann", "f|expand: '%nobody%'", "nobody"),
    Point(61, "f: '%admins%'", "%admins%", "ann"),
    Point(62, "f|week: 53", "2020-12-31T23:59:59+02:00", "2021-01-04", "f|week: 54", "53"),
    Point(63, "a.b: 1", {"a.b": 1, "a": {"b": 2}}, {"a.b": 2, "a": {"b": 1}}),
    Point(64, "f: b", ["a", "b"], ["a"]),
    Point(65, "a.b: 1", {"a": [{"b": 0}, {"b": 1}]}, {"a": [{"c": 1}]}),
    Point(66, "a.b: 1\na.c: 2", {"a": [{"b": 1}, {"c": 2}]}, {"a": [{"b": 1}]}),
    Point(68, "Field: 1", {"Field": 1}, {"field": 1}),
    Point(70, ABC + "a or b and not c", {"a": 1, "c": 1}, {"b": 1, "c": 1}, ABC + "a or", "end"),
    Point(71, ABC + "(a or b) and not c", {"b": 1}, {"a": 1, "c": 1}, ABC + "(a", "not closed"),
    Point(72, ABC + "a AND Not c", {"a": 1}, {"a": 1, "c": 1}, ABC + "a XOR b", "XOR"),
    Point(
        73,
        "a: {a: 1}\n_b: {b: 1}\ncondition: all of them",
        {"a": 1},
        {"b": 1},
        "_b: {b: 1}\ncondition: 1 of them",
        "them",
    ),
    Point(
        74,
        "ax: {a: 1}\nbx: {b: 1}\nc: {c: 1}\ncondition: all of *x",
        {"a": 1, "b": 1},
        {"a": 1, "c": 1},
        ABC + "1 of y*",
        "y*",
    ),
    Point(
        75,
        "not-me: {a: 1}\ncondition: not-me",
        {"a": 1},
        {},
        "not: {a: 1}\ncondition: not",
        "cannot be called",
    ),
    Point(76, ABC + "[a, b]", {"b": 1}, {"c": 1}, ABC + "[]", "empty"),
    Point(
        77,
        "s1: [{a: 1}, {b: 1}]\ns2: {c: 1}\ncondition: all of s*",
        {"b": 1, "c": 1},
        {"a": 1, "b": 1},
    ),
    Point(78, ABC + "a", {"a": 1}, {"b": 1}, ABC + "a | count() > 3", "aggregation"),
]

_CANNOT = "test_a_correlation_that_cannot_be_meant_is_refused"
_HITS = "test_windows_attacks_give_the_expected_hits"
# Point: (what fires, what does not, what is refused), each by the name of a test.
ELSEWHERE: dict[int, tuple[str, ...]] = {
    37: ("test_point_37_keywords_stay_inside_their_logsource",) * 2,
    67: ("test_point_67_windows_names",) * 2,
    69: ("test_point_69_fields_are_mapped_by_route",) * 2,
    79: (
        "test_point_79_gte_counts_inside_the_span_only",
        "test_point_79_gt_is_one_more",
        _CANNOT,
    ),
    80: (
        "test_point_80_distinct_values_are_counted",
        "test_point_80_several_fields_count_as_one_value",
        _CANNOT,
    ),
    81: (
        "test_point_81_temporal_takes_any_order_in_one_group",
        "test_point_81_temporal_with_a_number_of_rules",
    ),
    82: (
        "test_point_82_order_matters_and_one_instant_has_any_order",
        "test_point_82_one_event_is_not_two_steps",
    ),
    83: ("test_point_83_numbers_of_a_field",) * 2 + (_CANNOT,),
    84: (
        "test_point_84_groups_never_meet",
        "test_point_84_a_missing_field_counts_nowhere_unless_the_rule_says_so",
    ),
    85: ("test_point_85_aliases_join_different_fields",) * 2 + (_CANNOT,),
    86: (
        "test_point_86_chains_three_deep_by_name",
        "test_point_86_chains_three_deep_by_name",
        "test_point_86_what_is_not_there_twice_there_or_round_is_refused",
    ),
    87: ("test_point_87_generate_decides_whether_members_speak_for_themselves",) * 2,
    88: ("test_point_88_windows_slide_and_know_no_calendar",) * 2,
    89: ("test_point_89_exactly_a_timespan_apart_is_inside",) * 2,
    90: (
        "test_point_90_every_event_where_the_rule_says_so",
        "test_point_90_once_a_window_and_the_rest_is_tallied",
    ),
    91: (
        "test_point_91_out_of_order_within_lateness_is_as_sorted",
        "test_point_91_what_is_late_is_counted_and_still_taken_in",
    ),
    92: ("test_point_92_redelivered_events_do_not_count",) * 2,
    93: ("test_point_93_a_restart_in_mid_window_loses_and_doubles_nothing",) * 2,
    94: ("test_point_94_going_back_over_the_stream_finds_the_same_detections",) * 2,
    95: ("test_point_95_groups_over_the_limit_are_evicted_and_counted",) * 2,
    96: ("test_point_96_silence_is_found_by_time_alone",) * 2,
    97: (
        "test_point_97_positive_rule_and_filter_must_both_hold",
        "test_point_97_negative_what_the_filter_leaves_out_does_not_fire",
        "test_point_98_refusal_of_what_is_no_filter",
    ),
    98: (
        "test_point_98_positive_by_any_id_or_name",
        "test_point_98_negative_a_filter_of_other_rules_changes_nothing",
        "test_point_98_refusal_of_what_is_no_filter",
    ),
    99: (
        "test_point_99_positive_a_wider_logsource_holds_the_rules",
        "test_point_99_negative_any_means_any_of_the_logsource",
        "test_point_99_refusal_of_a_rule_outside_the_logsource",
    ),
    100: (
        "test_point_100_positive_identifiers_are_the_filters_own",
        "test_point_100_negative_any_leaves_correlations_alone",
        "test_point_100_refusal_of_a_correlation_by_name",
    ),
    101: ("test_point_101_one_bad_rule_never_drops_another",) * 3,
    102: (
        "test_point_102_every_rule_is_loaded_or_refused_with_a_reason",
        "test_only_missing_placeholder_values_are_a_reason",
        "test_placeholder_values_make_the_rest_load",
    ),
    103: (_HITS, "test_cloudtrail_gives_the_expected_hits"),
    104: ("test_point_104_conditions_mean_their_truth_table",) * 2,
}


def _id(point: Point) -> str:
    return f"point_{point.number:03}"


def _fires(point: Point, event: Any) -> bool:
    if "condition:" in point.text:
        return fires(point.text, event)
    return holds(point.text, event, VALUES)


@pytest.mark.parametrize("point", TABLE, ids=_id)
def test_positive(point: Point) -> None:
    assert _fires(point, point.yes)


@pytest.mark.parametrize("point", TABLE, ids=_id)
def test_negative(point: Point) -> None:
    assert not _fires(point, point.no)


@pytest.mark.parametrize("point", [point for point in TABLE if point.bad], ids=_id)
def test_refusal(point: Point) -> None:
    found = refusal(point.bad).reason if "condition:" in point.bad else refused(point.bad, VALUES)
    assert point.reason in found


def test_every_point_has_its_tests() -> None:
    root = Path(__file__).parents[2]
    names: set[str] = set()
    for path in (*root.glob("unit/detect/test_*.py"), *root.glob("conformance/sigma/test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
    table = [point.number for point in TABLE]
    assert len(table) == len(set(table))
    assert not set(table) & set(ELSEWHERE)
    assert sorted([*table, *ELSEWHERE]) == list(range(1, 105))
    assert {name for own in ELSEWHERE.values() for name in own} <= names
    assert all(len(own) >= 2 for own in ELSEWHERE.values())
