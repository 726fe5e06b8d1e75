"""An inventory file is taken whole or refused with line and reason."""

import io
import json
from pathlib import Path

import pytest

from services.notify.inventory import EMPTY, ENTRY_KINDS
from services.notify.inventory_entries import document, entry
from services.notify.inventory_file import InventoryError, parse, read_file
from services.notify.inventory_import import apply
from shared.yaml_lines import node_of

pytestmark = pytest.mark.unit

GOOD = """\
regions:
  - {name: eu, datacenters: [d1]}
services:
  - name: mail
    farms:
      - {name: f1, datacenter: d1, servers: [s1, s2]}
tenants:
  - name: t1
    contacts:
      email: [a@x.example]
      webhook: {url: "https://x.example/hook", secret: whsec_c2VjcmV0}
    contract:
      - {clause: "1", hours: 24, clock: aware}
placements:
  - {tenant: t1, server: s1, from: 2026-01-01T00:00:00Z, to: 2026-02-01T00:00:00Z}
"""


def test_a_good_file_is_taken_and_what_is_stored_of_it_means_the_same() -> None:
    inventory = parse(GOOD)
    assert inventory.counts()["servers"] == 2
    for kind in ENTRY_KINDS:
        for row in inventory.entries[kind].values():
            assert entry(kind, node_of(document(kind, row)), "left_out") == row


def test_secrets_are_neither_stored_nor_part_of_the_version() -> None:
    inventory = parse(GOOD)
    assert "whsec" not in json.dumps(document("tenants", inventory.entries["tenants"]["t1"]))
    assert "whsec" not in repr(inventory.tenants["t1"])
    assert parse(GOOD.replace("c2VjcmV0", "b3RoZXI=")).version == inventory.version


def test_every_other_change_is_a_new_version() -> None:
    assert parse(GOOD.replace("[s1, s2]", "[s1, s2, s3]")).version != parse(GOOD).version
    assert parse(GOOD.replace("a@x", "b@x")).version != parse(GOOD).version


def test_order_and_comments_are_no_change() -> None:
    assert parse("# why\n" + GOOD.replace("[s1, s2]", "[s2, s1]")).version == parse(GOOD).version


JSON = {
    "regions": [{"name": "eu", "datacenters": ["d1"]}],
    "services": [
        {"name": "id"},
        {
            "name": "mail",
            "depends_on": ["id"],
            "farms": [{"name": "f1", "datacenter": "d1", "servers": [{"name": "s1"}, "s2"]}],
        },
    ],
    "tenants": [
        {"name": "t1", "display_name": "Tenant 😀 \\ud83d", "contacts": {"email": "a@x.y"}}
    ],
    "placements": [{"tenant": "t1", "server": "s1", "from": "2026-01-01T00:00:00Z"}],
}


def test_json_is_taken_as_well_with_tabs_and_escapes() -> None:
    text = json.dumps(JSON, indent="\t")
    assert parse(text).tenants["t1"].display_name == "Tenant 😀 \\ud83d"


def test_json_of_any_size_is_read_row_by_row_to_the_same() -> None:
    text = json.dumps(JSON, indent=1)
    whole = parse(text)
    streamed = apply(EMPTY, read_file(io.BytesIO(text.encode()), 33 << 20), replace=True)
    assert streamed.inventory.version == whole.version
    for broken, line, why in (
        (text.replace('"d1"\n', '"d1" "d2"\n'), 6, "not JSON"),
        (text.replace('"server": "s1"', '"server": 1'), text.count("\n") - 5, "is not text"),
    ):
        with pytest.raises(InventoryError) as refusal:
            read_file(io.BytesIO(broken.encode()), 33 << 20)
        assert why in refusal.value.why
        assert refusal.value.line == line
    with pytest.raises(InventoryError, match="YAML is at most 32 MiB"):
        read_file(io.BytesIO(GOOD.encode()), 33 << 20)


def test_kinds_may_stand_beside_one_another() -> None:
    beside = (
        GOOD.replace(", datacenters: [d1]", "").replace(", servers: [s1, s2]", "")
        + """\
datacenters: [{name: d1, region: eu}]
servers: [{name: s1, server_farm: f1}, {name: s2, server_farm: f1}]
dependencies: []
"""
    )
    assert parse(beside).version == parse(GOOD).version


REFUSALS = [
    ("not yaml", "regions: [", "not YAML", 2),
    ("empty", "", "empty", 1),
    ("unknown top key", GOOD + "extra: 1\n", "unknown key 'extra'", 16),
    ("unknown key", GOOD.replace("{name: eu,", "{name: eu, tier: 1,"), "unknown key 'tier'", 2),
    ("key twice", GOOD.replace("- name: t1", "- name: t1\n    name: t2"), "stands twice", 9),
    ("no section", GOOD.replace("placements:", "#").rsplit("\n", 2)[0], "no placements", 1),
    ("unknown datacenter", GOOD.replace("datacenter: d1", "datacenter: d9"), "'d9'", 6),
    ("unknown server", GOOD.replace("server: s1", "server: s9"), "server 's9'", 15),
    ("unknown tenant", GOOD.replace("tenant: t1", "tenant: t9"), "tenant 't9'", 15),
    ("server twice", GOOD.replace("[s1, s2]", "[s1, s1]"), "'s1' stands twice", 6),
    ("self", GOOD.replace("- name: mail", "- name: mail\n    depends_on: [mail]"), "itself", 5),
    ("unknown dep", GOOD.replace("- name: mail", "- name: mail\n    depends_on: [x]"), "'x'", 5),
    ("backwards", GOOD.replace("to: 2026-02", "to: 2025-02"), "ends before", 15),
    ("naive time", GOOD.replace("00Z, to", "00, to"), "no offset", 15),
    ("no time", GOOD.replace("2026-01-01T00:00:00Z", "soon"), "not RFC 3339", 15),
    ("role", GOOD.replace("server: s1,", "server: s1, role: main,"), "role 'main'", 15),
    ("overlap", GOOD + "  - {tenant: t1, server: s1, from: 2026-01-15T00:00:00Z}\n", "line 15", 16),
    ("mail address", GOOD.replace("a@x.example", "a b@x"), "not an e-mail", 10),
    ("header", GOOD.replace("[a@x.example]", '["a@x.example\\nBcc: b@x"]'), "not an e-mail", 10),
    (
        "no way to tell",
        GOOD.replace("email: [a@x.example]", "").replace("webhook:", "#"),
        "no contacts",
        8,
    ),
    ("hook url", GOOD.replace("https://x", "ftp://x"), "not a plain URL", 11),
    ("hook user", GOOD.replace("https://x", "https://u:p@x"), "not a plain URL", 11),
    ("hook secret", GOOD.replace(", secret: whsec_c2VjcmV0", ""), "secret_ref or secret", 11),
    ("hours", GOOD.replace("hours: 24", "hours: 0"), "whole number", 13),
    ("clock", GOOD.replace("clock: aware", "clock: noon"), "clock 'noon'", 13),
    ("anchor", GOOD.replace("[s1, s2]", "&a [s1, s2]"), "anchors", 6),
    ("tag", GOOD.replace("[s1, s2]", "!!set [s1, s2]"), "tags", 6),
    ("second document", GOOD + "---\n{}\n", "second document", 16),
    ("a list", "- 1\n", "must be a table", 1),
]


@pytest.mark.parametrize(("name", "text", "why", "line"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_a_contradiction_is_refused_with_its_line(
    name: str, text: str, why: str, line: int
) -> None:
    with pytest.raises(InventoryError) as refusal:
        parse(text)
    assert why in refusal.value.why, name
    assert refusal.value.line == line


def test_the_shipped_example_is_good() -> None:
    root = Path(__file__).parents[3]
    counts = parse((root / "services/notify/examples/inventory.yml").read_text()).counts()
    assert counts["tenants"] == 8
    assert counts["datacenters"] == 3
