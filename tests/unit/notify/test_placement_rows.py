"""Placements from CSV and NDJSON: taken whole, or each bad line named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.inventory import Placements
from services.notify.inventory_file import canonical, parse, with_placements
from services.notify.placement_rows import Rejected, difference, parse_rows
from tests.unit.notify.test_scope import WORKED, may

pytestmark = pytest.mark.unit

CSV = """tenant,server,from,to,role,data
T1,m1,,,,
T2,m2,,2026-05-10T00:00:00Z,primary,personal|payment
T2,m2,2026-05-10T00:00:00Z,,primary,
"""
NDJSON = """{"tenant": "T1", "server": "m1"}

{"tenant": "T2", "server": "m2", "to": "2026-05-10T00:00:00Z", "data": ["payment", "personal"]}
{"tenant": "T2", "server": "m2", "from": "2026-05-10T02:00:00+02:00", "role": "primary"}
"""


def test_csv_and_ndjson_say_the_same() -> None:
    one, two = parse_rows(CSV, "csv", WORKED), parse_rows(NDJSON, "ndjson", WORKED)
    assert one == two
    taken, rejected = one
    assert rejected == []
    assert taken[1].valid_to == taken[2].valid_from == may(10)  # half-open: no contradiction
    assert taken[1].data_classes == ("payment", "personal")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("T9,m1,,,,", "tenant 'T9' is not defined"),
        ("T1,m9,,,,", "server 'm9' is not defined"),
        ("T1,m1,,,leader,", "role 'leader' is none of primary, replica, backup"),
        ("T1,m1,yesterday,,,", "from 'yesterday' is not an instant with its offset"),
        ("T1,m1,2026-05-02T00:00:00Z,2026-05-02T00:00:00Z,,", "ends before it begins"),
        ("T2,m2,2026-05-09T00:00:00Z,,,", "overlaps line 3: same tenant, server and role"),
        ("T1,m1", "has 2 cells, the header 6"),
    ],
)
def test_a_row_that_cannot_be_taken_is_named_by_its_line(row: str, why: str) -> None:
    taken, rejected = parse_rows(CSV + row + "\n", "csv", WORKED)
    assert (len(taken), rejected) == (3, [Rejected(5, why)])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ('{"tenant": 1, "server": "m1"}', "tenant is not text"),
        ('{"tenant": "T1", "server": "m1", "rack": "r"}', "'rack' is none of"),
        ('{"tenant": "T1", "server": "m1", "data": "personal"}', "data is not a list of names"),
    ],
)
def test_a_line_that_is_no_placement_is_named(line: str, why: str) -> None:
    taken, (rejected,) = parse_rows(f"\n{line}\n", "ndjson", WORKED)
    assert (taken, rejected.line) == ([], 2)
    assert why in rejected.why


def test_a_header_of_other_names_is_refused() -> None:
    for header in ("", "tenant,host", "tenant,server,server", "tenant"):
        assert parse_rows(f"{header}\nT1,m1\n", "csv", WORKED)[1][0].line == 1


def test_the_difference_and_the_new_version() -> None:
    taken, _ = parse_rows("tenant,server\nT1,m1\nT1,m2\n", "csv", WORKED)
    diff = difference(WORKED.placements, taken)
    assert [(p.tenant, p.server) for p in diff.added] == [("T1", "m2")]
    assert (len(diff.removed), diff.unchanged) == (WORKED.placements.rows - 1, 1)
    changed = with_placements(WORKED, Placements(taken))
    assert changed.version != WORKED.version
    assert parse(canonical(changed)).version == changed.version
    assert changed.tenants == WORKED.tenants


@given(st.text(max_size=300), st.sampled_from(["csv", "ndjson"]))
def test_no_text_is_an_error(noise: str, kind: str) -> None:
    parse_rows(noise, kind, WORKED)
    parse_rows(CSV + noise, kind, WORKED)
