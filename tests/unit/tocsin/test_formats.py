"""Files in forms of their own: CSV, Zeek, journald export, CloudTrail, EVTX; damage is named."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from shared.errors import UserError
from tocsin.reading import chunks, open_log

pytestmark = pytest.mark.unit


def read(path: Path, data: bytes) -> list[Any]:
    path.write_bytes(data)
    with open_log(path) as log:
        return [item for chunk in chunks(log) for item in json.loads(chunk.body)]


@pytest.mark.parametrize("packed", [False, True])
def test_csv(tmp_path: Path, packed: bool) -> None:
    data = 'time;user;note\r\n1;al;"a ""b""\nc"\r\n2;;x;more\r\n\r\n'.encode("utf-8-sig")
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    assert read(path, gzip.compress(data) if packed else data) == [
        {"time": "1", "user": "al", "note": 'a "b"\nc'},
        {"time": "2", "note": "x", "_more": ["more"]},
    ]


def test_zeek_with_types_and_the_words_of_its_header(tmp_path: Path) -> None:
    head = (
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n"
        "#fields\tts\tuid\tquery\tAA\tanswers\tid.orig_p\tTTLs\n"
        "#types\ttime\tstring\tstring\tbool\tset[string]\tport\tvector[interval]\n"
    )
    lines = "1.5\tC1\ta\\x2cb\tT\tx,y\t53\t1.0,2.0\n2.5\tC2\t-\tF\t(empty)\t-\t-\n#close\tnow\n"
    assert read(tmp_path / "dns.log", (head + lines).encode()) == [
        {"_path": "dns", "ts": 1.5, "uid": "C1", "query": "a,b", "AA": True,
         "answers": ["x", "y"], "id.orig_p": 53, "TTLs": [1.0, 2.0]},
        {"_path": "dns", "ts": 2.5, "uid": "C2", "AA": False, "answers": []},
    ]  # fmt: skip
    with pytest.raises(UserError, match="line 8: 1 values, 7 names"):
        read(tmp_path / "bad.log", head.encode() + b"1.5\n")


def test_journald_export(tmp_path: Path) -> None:
    binary = b"MESSAGE\n" + struct.pack("<Q", 5) + b"a\nb=c\n"
    data = b"__CURSOR=s\nPRIORITY=6\n" + binary + b"\n__CURSOR=t\nX=1\nX=2\nX=3\n"
    assert read(tmp_path / "j", data) == [
        {"__CURSOR": "s", "PRIORITY": "6", "MESSAGE": "a\nb=c"},
        {"__CURSOR": "t", "X": ["1", "2", "3"]},
    ]
    with pytest.raises(UserError, match="the file ends inside the field"):
        read(tmp_path / "k", b"__CURSOR=s\nMESSAGE\n" + struct.pack("<Q", 50) + b"a")


@pytest.mark.parametrize("packed", [False, True])
def test_cloudtrail_is_its_records(tmp_path: Path, packed: bool) -> None:
    events = [{"eventName": f"E{n}", "awsRegion": "eu"} for n in range(1200)]
    data = json.dumps({"Records": events}).encode()
    assert read(tmp_path / "t.json", gzip.compress(data) if packed else data) == events
    with pytest.raises(UserError, match="item 1201"):
        read(tmp_path / "t.json", data[:-2])


@pytest.mark.corpus
def test_evtx(tmp_path: Path, corpus: Path) -> None:
    found = sorted((corpus / "sigma" / "regression_data").rglob("*.evtx"))
    data = found[0].read_bytes()
    events = read(tmp_path / "log", gzip.compress(data))
    assert events
    assert all(event["Event"]["System"]["Channel"] for event in events)


def test_a_file_that_only_begins_like_evtx_is_answered_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"EVTX|evtx"):
        read(tmp_path / "log", b"ElfFile\0" + b"\1" * 20)
