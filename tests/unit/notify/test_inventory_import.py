"""Rows from CSV, NDJSON and JSON: taken whole, or each bad line named; nothing is contradicted."""

import io
import json
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.inventory import EMPTY, Inventory, Kind
from services.notify.inventory_import import (
    MAX_REJECTED,
    Change,
    Draft,
    Rejected,
    TooManyRejectedError,
    apply,
)
from services.notify.inventory_intake import read_draft
from services.notify.placements import Placement
from tests.unit.notify.test_scope import WORKED, may

pytestmark = pytest.mark.unit

Form = Literal["csv", "ndjson", "json", "yaml"]
CSV = """tenant,server,from,to,role,data,tags
T1,m1,,,,,
T2,m2,,2026-05-10T00:00:00Z,primary,personal|payment,subscription=s-1|plan=gold
T2,m2,2026-05-10T00:00:00Z,,primary,,"{""plan"": ""gold""}"
"""
NDJSON = """{"tenant": "T1", "server": "m1"}

{"tenant": "T2", "server": "m2", "to": "2026-05-10T00:00:00Z", "data": ["payment", "personal"], \
"tags": [{"Key": "plan", "Value": "gold"}], "labels": {"subscription": "s-1"}}
{"tenant": "T2", "server": "m2", "from": "2026-05-10T02:00:00+02:00", "tags": {"plan": "gold"}}
"""


def draft(text: str, form: Form, kind: Kind | None = None) -> Draft:
    return read_draft(io.BytesIO(text.encode()), form, kind)


def change(
    text: str,
    form: Form = "csv",
    kind: Kind | None = "placements",
    *,
    base: Inventory = WORKED,
    replace: bool = True,
) -> Change:
    return apply(base, draft(text, form, kind), replace=replace)


def placed(inventory: Inventory) -> set[Placement]:
    return {p for server in inventory.placements for p in inventory.placements[server]}


def test_csv_ndjson_and_json_say_the_same() -> None:
    lines = [json.loads(line) for line in NDJSON.splitlines() if line]
    made = [
        change(CSV),
        change(NDJSON, "ndjson"),
        change(json.dumps(lines, indent=2), "json"),
    ]
    assert len({one.inventory.version for one in made}) == 1
    assert made[0].rejected == ()
    of_t2 = made[0].inventory.placements["m2"]
    assert of_t2[0].valid_to == of_t2[1].valid_from == may(10)  # half-open: no contradiction
    assert of_t2[0].data_classes == ("payment", "personal")
    assert of_t2[0].tags == (("plan", "gold"), ("subscription", "s-1"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("T9,m1,,,,,", "placement names tenant 'T9', which is not defined"),
        ("T1,m9,,,,,", "placement names server 'm9', which is not defined"),
        (",m1,,,,,", "placement has no tenant"),
        ("T1,m1,,,leader,,", "placement: role 'leader' is none of primary, replica, backup"),
        ("T1,m1,noon,,,,", "placement: from 'noon' is not RFC 3339 or has no offset from UTC"),
        ("T1,m1,2026-05-02T00:00:00Z,2026-05-02T00:00:00Z,,,", "placement ends before it begins"),
        (
            "T2,m2,2026-05-09T00:00:00Z,,,,",
            "placement overlaps the one in line 3: same tenant, server and role",
        ),
        ("T1,m1", "has 2 cells, the header 7"),
        ("T1,m1,,,,,gold", "placement: tags are not key=value, separated by |"),
        ("T1,m1,,,,,{", "placement: tags are not JSON"),
    ],
)
def test_a_row_that_cannot_be_taken_is_named_by_its_line(row: str, why: str) -> None:
    made = change(CSV + row + "\n")
    assert made.rejected == (Rejected(5, why),)
    assert made.inventory.placements.rows == 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ('{"tenant": 1, "server": "m1"}', "tenant is not text"),
        ('{"tenant": "T1", "tenant": "T2", "server": "m1"}', "key 'tenant' stands twice"),
        ('{"tenant": "T1", "server": "m1", "rack": "r"}', "unknown key 'rack'"),
        ('{"tenant": "T1", "server": "m1", "data": [1]}', "data is not a list of names"),
        ('{"tenant": "T1", "server": "m1", "tags": {"a": ["b"]}}', "is not printable text"),
        (
            '{"tenant": "T1", "server": "m1", "tags": {"a": "b"}, "labels": {"a": "c"}}',
            "say two things of 'a'",
        ),
    ],
)
def test_a_line_that_is_no_placement_is_named(line: str, why: str) -> None:
    made = change(f"\n{line}\n", "ndjson", base=EMPTY)
    (rejected,) = made.rejected
    assert (made.inventory.placements.rows, rejected.line) == (0, 2)
    assert why in rejected.why


@pytest.mark.parametrize("header", ["", "tenant,host", "tenant,server,server", "name"])
def test_a_header_of_other_names_is_refused(header: str) -> None:
    assert draft(f"{header}\nT1,m1\n", "csv", "placements").rejected[0].line == 1


ALL_KINDS: dict[Kind, str] = {
    "regions": "name,labels\neu,geo=europe\n",
    "datacenters": "name,region\nd1,eu\n",
    "services": "name\nmail\nid\n",
    "dependencies": "service,on\nmail,id\n",
    "server_farms": "name,service,datacenter,tags\nf1,mail,d1,env=prod\n",
    "servers": "name,server_farm,labels\ns1,f1,kubernetes.io/arch=arm64\n",
    "tenants": (
        "name,display_name,region,data_subject_regions,capacities,email,alternate_email,"
        "webhook_url,webhook_secret_ref,contract,tags\n"
        'T,Tenant,EU,EU|UK,controller,a@x.y|b@x.y,c@x.y,https://x.y/h,r,"[{""clause"": ""1"",'
        ' ""hours"": 4, ""clock"": ""aware""}]",tier=1\n'
    ),
    "placements": "tenant,server\nT,s1\n",
}


def test_every_kind_comes_by_csv_and_all_of_them_by_ndjson() -> None:
    by_csv = EMPTY
    for kind, text in ALL_KINDS.items():
        made = change(text, "csv", kind, base=by_csv)
        assert made.rejected == (), kind
        by_csv = made.inventory
    assert set(by_csv.counts().values()) == {1, 2}
    tenant = by_csv.tenants["T"]
    assert tenant.contacts.emails == ("a@x.y", "b@x.y")
    assert tenant.contacts.webhook is not None
    assert tenant.clauses[0].id == "1"
    assert dict(by_csv.servers["s1"].tags) == {
        "geo": "europe", "env": "prod", "kubernetes.io/arch": "arm64",
    }  # fmt: skip
    rows = [
        {"kind": "servers", "name": "s1", "server_farm": "f1"},  # in any order
        {"kind": "server_farms", "name": "f1", "service": "mail", "datacenter": "d1"},
        {"kind": "services", "name": "mail", "depends_on": ["id"]},
        {"kind": "services", "name": "id"},
        {"kind": "regions", "name": "eu", "datacenters": ["d1"]},
        {"kind": "tenants", "name": "T", "contacts": {"email": "a@x.y"}},
        {"kind": "placements", "tenant": "T", "server": "s1"},
    ]
    mixed = change("".join(json.dumps(row) + "\n" for row in rows), "ndjson", None, base=EMPTY)
    assert mixed.rejected == ()
    assert mixed.inventory.counts() == by_csv.counts()


def test_what_others_stand_on_is_not_taken_away() -> None:
    made = change("name,server_farm\nm1,mail-f1\nm3,mail-f2\ni1,id-f1\n", "csv", "servers")
    told = [one.why for one in made.rejected]
    assert told == [
        "server 'i2' is not in the import, but placements name it",
        "server 'm2' is not in the import, but placements name it",
    ]
    assert made.inventory.servers.keys() == WORKED.servers.keys()
    assert not made.difference
    assert made.inventory.version == WORKED.version


def test_a_rejected_row_leaves_what_was_recorded_under_its_name() -> None:
    text = "name,server_farm,tags\nm1,nowhere,\nm2,mail-f1,a=b\nm3,mail-f2,\ni1,id-f1,\ni2,id-f2,\n"
    made = change(text, "csv", "servers")
    assert made.rejected == (
        Rejected(2, "server 'm1' names server farm 'nowhere', which is not defined"),
    )
    assert made.inventory.servers["m1"] == WORKED.servers["m1"]
    assert made.difference.entries["servers"].changed == ("m2",)


def test_merging_adds_and_corrects_and_takes_nothing_away() -> None:
    text = "tenant,server,from,to\nT2,m3,2026-05-10T00:00:00Z,2026-06-01T00:00:00Z\nT5,m1,,\n"
    made = change(text, replace=False)
    counts = made.difference.counts()["placements"]
    assert counts == {"added": 1, "removed": 0, "changed": 1, "unchanged": 6}
    assert made.inventory.placements.rows == WORKED.placements.rows + 1
    clash = change("tenant,server,from\nT1,m1,2026-01-01T00:00:00Z\n", replace=False)
    assert [one.why for one in clash.rejected] == [
        "placement overlaps the one recorded without a beginning: same tenant, server and role"
    ]


def test_an_import_of_one_kind_holds_no_other() -> None:
    rows = '{"name": "eu-west", "datacenters": ["dub1"]}\n'
    (rejected,) = draft(rows, "ndjson", "regions").rejected
    assert "this is an import of regions" in rejected.why


def test_only_a_list_can_say_that_there_are_none() -> None:
    for text, form in (("", "ndjson"), ("tenant,server\n", "csv")):
        made = change(text, cast("Form", form))
        assert made.rejected == (Rejected(0, "the document holds no rows"),)
        assert not made.difference
    assert change("[]", "json").inventory.placements.rows == 0
    assert change('{"placements": []}', "json", None).inventory.placements.rows == 0


def test_a_secret_in_an_import_is_refused() -> None:
    row = {"name": "T", "contacts": {"webhook": {"url": "https://x.y", "secret": "whsec_x"}}}
    (rejected,) = draft(json.dumps([row]), "json", "tenants").rejected
    assert "needs secret_ref, no secret" in rejected.why


def test_what_is_nothing_but_mistakes_is_not_read_to_its_end() -> None:
    with pytest.raises(TooManyRejectedError):
        draft("x\n" * (MAX_REJECTED + 2), "ndjson", "placements")


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "a table of"),
        ('{"racks": []}', 1, "key 'racks' is none of"),
        ('{"regions": [], "regions": []}', 1, "stands twice"),
        ('{"regions": [\n{"name": "r"}\n{"name": "s"}]}', 3, "a comma is missing"),
        ('{"regions": [\n\n{"name": ]}', 3, "not JSON"),
        ('{"regions": [', 1, "ends inside of a list"),
        ('{"regions": []} x', 1, "something follows"),
        ('{"regions": {}}', 1, "must be a list"),
    ],
)
def test_where_json_breaks_off_is_told(text: str, line: int, why: str) -> None:
    rejected = draft(text, "json", None).rejected[-1]
    assert rejected.line == line
    assert why in rejected.why


def test_the_version_tells_the_rows_and_how_they_came_about() -> None:
    one = change(CSV).inventory
    assert one.version != WORKED.version
    assert change(CSV, base=one).inventory.version == one.version  # nothing changed
    assert (
        change("\n".join(reversed(NDJSON.split("\n"))), "ndjson").inventory.version == one.version
    )
    assert change(CSV, base=EMPTY).inventory.version != one.version


rows = st.fixed_dictionaries(
    {"tenant": st.sampled_from(["T1", "T2", "T9"]), "server": st.sampled_from(["m1", "m2", "x"])},
    optional={
        "from": st.integers(1, 9).map(lambda d: may(d).isoformat()),
        "to": st.integers(4, 14).map(lambda d: may(d).isoformat()),
        "role": st.sampled_from(["primary", "replica"]),
    },
)


@given(st.lists(rows, max_size=12), st.booleans())
def test_whatever_comes_in_what_stands_contradicts_nothing(
    given_rows: list[dict[str, Any]], replace: bool
) -> None:
    made = change(json.dumps(given_rows), "json", replace=replace)
    stands = sorted(placed(made.inventory), key=repr)
    for n, a in enumerate(stands):
        assert a.tenant in WORKED.tenants
        assert a.server in WORKED.servers
        for b in stands[:n]:
            same = (a.tenant, a.server, a.role) == (b.tenant, b.server, b.role)
            assert not same or not _overlap(a, b)
    if replace:
        assert len(stands) + len(made.rejected) == len(given_rows)
    # The difference leads from the one to the other.
    rows_of = made.difference.placements
    gone = {_at(rows_of.before, row) for row in (*rows_of.removed, *rows_of.changed_from)}
    new = {_at(rows_of.after, row) for row in (*rows_of.added, *rows_of.changed_to)}
    assert (placed(WORKED) - gone) | new == placed(made.inventory)


def _at(placements: Any, row: int) -> Placement:
    return cast("Placement", placements.placement(placements.server(row), row))


def _overlap(a: Placement, b: Placement) -> bool:
    return (a.valid_to is None or b.valid_from is None or b.valid_from < a.valid_to) and (
        b.valid_to is None or a.valid_from is None or a.valid_from < b.valid_to
    )


@given(st.text(max_size=300), st.sampled_from(["csv", "ndjson", "json", "yaml"]))
def test_no_text_is_an_error(noise: str, form: Form) -> None:
    kinds: tuple[Kind | None, ...] = (None, "placements", "tenants")
    for kind in kinds:
        if form != "yaml" or kind is None:
            apply(WORKED, draft(noise, form, kind), replace=True)
    if form != "yaml":
        apply(WORKED, draft(CSV + noise, form, "placements"), replace=False)
