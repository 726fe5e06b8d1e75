"""Growing CSV, Zeek and journald files: the records that `tocsin send` reads of the whole file,
each once, whatever piece of them is there when one looks."""

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from tocsin.follow import Follower, load_position, save_position
from tocsin.reading import ReadingError, chunks, open_log

pytestmark = pytest.mark.unit


def csv_file(records: int) -> bytes:
    """Rows with quoted line breaks, quotes, empty values and one value too many."""
    odd = ['"two\nlines"', '"a ""quoted"" word"', "plain", '"semi;colon, comma"', ""]
    rows = [
        f"{n},{odd[n % 5]},host-{n % 7}{',more' if n % 11 == 0 else ''}" for n in range(records)
    ]
    return ("id,text,host\r\n" + "\r\n".join(rows) + "\r\n").encode()


def zeek_file(records: int) -> bytes:
    """Two headers: what was written after a restart has other columns."""
    head = (
        b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n"
        b"#path\tconn\n#open\t2026-01-02-03-04-05\n"
    )
    first = [f"{n}.5\thost{n}\ta,b\n".encode() for n in range(records // 2)]
    second = [f"{n}\t-\n".encode() for n in range(records - records // 2)]
    return b"".join(
        (
            head, b"#fields\tts\thost\ttags\n#types\ttime\tstring\tset[string]\n", *first,
            b"#close\t2026-01-02-04-00-00\n", head,
            b"#fields\tcount\twho\n#types\tcount\tstring\n", *second,
        )
    )  # fmt: skip


def journal_file(records: int) -> bytes:
    """Entries with a field of bytes in which empty lines stand, and a field given twice."""
    data = b"one\n\ntwo\xff\n\n"
    packed = b"BYTES\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return b"".join(
        b"__CURSOR=c%d\nMESSAGE=entry %d\n%sTAG=a\nTAG=b\n\n"
        % (n, n, packed if n % 3 == 0 else b"")
        for n in range(records)
    )


FORMS: dict[str, Callable[[int], bytes]] = {
    "app.csv": csv_file, "conn.log": zeek_file, "journal.export": journal_file,
}  # fmt: skip
EVERY_FORM = pytest.mark.parametrize("name", FORMS)


class Place:
    """A file that grows, and what ingest would know of it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.log, self.state = folder / name, folder / "state.json"
        self.known: dict[tuple[str, int, bytes], object] = {}
        self.follower = Follower(self.log, None)

    def write(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    def read(self, *, confirmed: bool = True) -> None:
        idle = 0
        while idle < 3:
            if (portion := self.follower.read()) is None:
                idle += 1
                continue
            idle = 0
            records = orjson.loads(portion.chunk.body)
            assert len(records) == portion.chunk.count
            for number, record in enumerate(records):
                self.known.setdefault((portion.key, number, orjson.dumps(record)), record)
            if not confirmed:
                break
            save_position(self.state, portion.after)
            self.follower.confirm(portion)

    def restart(self) -> None:
        self.follower.close()
        self.follower = Follower(self.log, load_position(self.state))

    def got(self) -> list[object]:
        return list(self.known.values())


def whole(folder: Path, name: str, data: bytes) -> list[object]:
    """Return the records of a file that is sent at once."""
    (folder / "whole").mkdir(exist_ok=True)
    file = folder / "whole" / name
    file.write_bytes(data)
    with open_log(file) as log:
        return [record for chunk in chunks(log) for record in orjson.loads(chunk.body)]


@EVERY_FORM
@pytest.mark.parametrize("seed", range(6))
def test_it_grows_in_any_pieces_with_any_interruption(tmp_path: Path, name: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's course
    place, data = Place(tmp_path, name), FORMS[name](1300)
    at = 0
    while at < len(data):
        size = chance.choice((1, 7, 40, 900, 9000))
        place.write(data[at : at + size])
        at += size
        match chance.randrange(4):
            case 0:
                place.read()
            case 1:
                place.read(confirmed=False)
                place.restart()
            case _:
                pass
    place.read()
    assert place.got() == whole(tmp_path, name, data)
    place.follower.close()


@EVERY_FORM
def test_it_is_rotated_and_goes_on(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path, name)
    first, second = FORMS[name](40), FORMS[name](90)
    place.write(first[:-1])  # its last line never gets an end
    place.read()
    place.log.rename(f"{place.log}.1")
    place.write(second)
    place.read()
    expected = whole(tmp_path, name, first[:-1]) + whole(tmp_path, name, second)
    assert place.got() == expected
    place.follower.close()


@pytest.mark.parametrize("name", ["app.csv", "conn.log"])
def test_a_table_under_the_same_header_is_another_file(tmp_path: Path, name: str) -> None:
    """All of them begin alike: what tells them apart is the first row."""
    place, data = Place(tmp_path, name), FORMS[name](20)
    place.write(data)
    place.read()
    other = data.replace(b"0,", b"77,", 1) if name == "app.csv" else data.replace(b"0.5", b"9.5", 1)
    with place.log.open("r+b") as file:  # copytruncate, and grown beyond where it stood
        file.truncate(0)
        file.write(other + other.split(b"\n")[-2] + b"\n")
    place.read()
    assert len(place.got()) == 20 + 21
    place.follower.close()


@pytest.mark.parametrize(
    ("name", "damaged", "kept"),
    [
        ("conn.log", b"only one value\n", "only one value"),
        ("journal.export", b"\xfe\xff=1\nMESSAGE=x\n\n", "��=1\nMESSAGE=x\n"),
    ],
)
def test_a_damaged_record_is_kept_and_does_not_hold_up_the_rest(
    tmp_path: Path, name: str, damaged: bytes, kept: str
) -> None:
    place = Place(tmp_path, name)
    data = FORMS[name](10)
    place.write(data + damaged + (b"1\tx\n" if name == "conn.log" else b"MESSAGE=last\n\n"))
    place.read()
    *_, broken, last = place.got()
    assert isinstance(broken, str)
    assert broken.strip() == kept.strip()
    assert isinstance(last, dict)  # a string is no event: ingest puts it in quarantine
    place.follower.close()


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"ElfFile\0" + b"\0" * 100, "EVTX"), (gzip.compress(b"a line\n"), "compressed")],
)
def test_what_cannot_be_followed_is_said(tmp_path: Path, data: bytes, why: str) -> None:
    file = tmp_path / "log"
    file.write_bytes(data)
    follower = Follower(file, None)
    with pytest.raises(ReadingError, match=why):
        follower.read()
    follower.close()
