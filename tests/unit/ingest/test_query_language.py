"""The query language: what it reads, where it refuses, and that SQL never holds a user's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.search.compile import Parameters, Schema, condition, value_of
from services.ingest.search.language import (
    All,
    And,
    Exists,
    Field,
    Node,
    Not,
    Or,
    QueryError,
    Range,
    Text,
    Value,
    parse,
)

pytestmark = pytest.mark.unit


def word(text: str) -> Value:
    return Value((text,), (False,))


def wild(*parts: str) -> Value:
    return Value(parts, tuple(part in ("*", "?") for part in parts))


@pytest.mark.parametrize(
    ("query", "means"),
    [
        ("", All()),
        ("  * ", All()),
        ("a:1", Field("a", word("1"))),
        ("a:1 b:2", And((Field("a", word("1")), Field("b", word("2"))))),
        (
            "a:1 OR b:2 AND c:3",
            Or((Field("a", word("1")), And((Field("b", word("2")), Field("c", word("3")))))),
        ),
        ("NOT a:1", Not(Field("a", word("1")))),
        ("-a:1", Not(Field("a", word("1")))),
        ("!(x)", Not(Text(word("x")))),
        ("a-b", Text(word("a-b"))),
        ('"a b"', Text(word("a b"))),
        (r'"say \"hi\" C:\temp"', Text(word(r'say "hi" C:\temp'))),
        ('a:"x*"', Field("a", word("x*"))),
        ("a:x*?", Field("a", wild("x", "*", "?"))),
        (r"a:x\*", Field("a", word("x*"))),
        (r"a:*\\x", Field("a", wild("*", r"\x"))),
        (r"p:C:\Windows", Field("p", word(r"C:\Windows"))),
        (r"my\ field:1", Field("my field", word("1"))),
        ('"my field":1', Field("my field", word("1"))),
        ("a:*", Exists("a")),
        ("_exists_:a.b", Exists("a.b")),
        ("a:>=5", Range("a", "5", None, True, True)),
        ("a:<5", Range("a", None, "5", False, False)),
        ("a:[1 TO 5}", Range("a", "1", "5", True, False)),
        ('a:{* TO "x y"]', Range("a", None, "x y", False, True)),
        ("a:(x OR y)", Or((Field("a", word("x")), Field("a", word("y"))))),
        ("a:(x y*)", Or((Field("a", word("x")), Field("a", wild("y", "*"))))),
        ("a:(x AND NOT y)", And((Field("a", word("x")), Not(Field("a", word("y")))))),
        ("ORDER", Text(word("ORDER"))),
        ("a:OR", Field("a", word("OR"))),
    ],
)
def test_what_is_written_is_what_is_meant(query: str, means: Node) -> None:
    assert parse(query) == means


@pytest.mark.parametrize(
    ("query", "position", "says"),
    [
        ("a:1 AND", 7, "missing before the end"),
        ("OR a", 0, "missing before OR"),
        ("(a:1", 4, "'(' at 0 is not closed"),
        ("a:1)", 3, "closes nothing"),
        ("a:", 2, "no value"),
        ("x a: y", 4, "no value"),
        ('a "b', 2, "has no end"),
        ("a:[1 5]", 5, "[from TO to]"),
        ("a:[1 TO 5", 9, "not closed"),
        ("a:>", 3, "a bound is expected"),
        (":x", 0, "name"),
        ("a:(x AND y OR z)", 11, "brackets"),
        ("(" * 60 + "a", 39, "nested"),
        ("a " * 300, 400, "conditions"),
        ("x" * 9000, 8192, "characters"),
    ],
)
def test_a_refusal_names_the_place(query: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as refused:
        parse(query)
    assert says in refused.value.message
    assert abs(refused.value.position - position) <= 1


@given(st.text(alphabet="abAB01 :\"()[]{}<>=!-*?\\.\n'$%_;ORANDTO", max_size=60))
def test_any_text_is_read_or_refused_and_never_becomes_sql(query: str) -> None:
    try:
        node = parse(query)
    except QueryError as refused:
        assert 0 <= refused.position <= len(query)  # noqa: PT017 - it is one of two outcomes
        return
    schema = Schema(frozenset({"a", "b.a", "ab"}), None)
    sql = condition(node, schema, Parameters())
    if isinstance(sql, str):
        # Everything a user wrote is a parameter: the text is made of our own words only.
        for ours in ('"f.a"', '"f.b.a"', '"f.ab"', "'\\'", "'is'", "f.a", "f.ab"):
            sql = sql.replace(ours, "")
        assert "'" not in sql
        assert ";" not in sql
        assert '"' not in sql


SCHEMA = Schema(frozenset({"event.eventid", "eventid", "user"}), frozenset({"tags.user"}))


def test_a_field_is_found_at_any_depth_and_beside_the_columns() -> None:
    parameters = Parameters()
    sql = condition(parse("EventID:4625 user:Bob"), SCHEMA, parameters)
    assert sql == (
        '(("f.event.eventid" = $p0 OR "f.eventid" = $p0) AND (lower("f.user") = $p1 OR'
        " len(list_filter(rest, lambda entry: (entry.k = $p2 OR ends_with(entry.k, $p3))"
        " AND lower(entry.v) = $p1)) > 0))"
    )
    assert parameters.values == {"p0": "4625", "p1": "bob", "p2": "user", "p3": ".user"}


@pytest.mark.parametrize(
    ("query", "outcome"),
    [("nosuch:1", False), ("NOT nosuch:1", True), ("nosuch:1 AND user:x", False), ("", True),
     ("nosuch:* OR nosuch:>1", False), ("NOT nosuch:* OR user:x", True)],
)  # fmt: skip
def test_what_a_file_does_not_have_needs_no_reading(query: str, outcome: bool) -> None:
    assert condition(parse(query), SCHEMA, Parameters()) is outcome


def test_a_file_of_another_source_needs_no_reading() -> None:
    schema = Schema(frozenset(), frozenset(), "web-1")
    assert condition(parse("source:web-*"), schema, Parameters()) is True
    assert condition(parse("source:db"), schema, Parameters()) is False


def test_a_field_that_nobody_has_has_no_value() -> None:
    assert value_of("nosuch", SCHEMA, Parameters()) == "CAST(NULL AS VARCHAR)"
