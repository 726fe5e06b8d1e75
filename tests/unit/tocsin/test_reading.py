"""Files into chunks: every form, compressed or not, items verbatim and counted."""

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from tocsin.reading import CHUNK_ITEMS, ReadingError, chunks, open_log

pytestmark = pytest.mark.unit
EVENTS = [{"n": n, "text": "é" * (n % 7)} for n in range(CHUNK_ITEMS + 20)]


def read(path: Path) -> list[object]:
    """Return the events that the chunks of *path* hold, in order."""
    found: list[object] = []
    with open_log(path) as log:
        for chunk in chunks(log):
            assert chunk.start == len(found)
            items = (
                json.loads(chunk.body)
                if chunk.body[:1] == b"["
                else [json.loads(line) for line in chunk.body.split(b"\n")]
            )
            assert len(items) == chunk.count
            found += items
        assert log.position == log.size
    return found


FORMS = {
    "lines": "\n".join(json.dumps(e) for e in EVENTS),
    "lines-crlf": "\r\n".join(json.dumps(e) for e in EVENTS) + "\r\n",
    "array": json.dumps(EVENTS),
    "pretty-array": json.dumps(EVENTS, indent=2),
    "concatenated": "".join(json.dumps(e) for e in EVENTS),
    "pretty": "\n".join(json.dumps(e, indent=2) for e in EVENTS),
    "bom-pretty": "\ufeff" + "\n".join(json.dumps(e, indent=2) for e in EVENTS),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
def test_every_form_and_packing(tmp_path: Path, form: str, packing: str) -> None:
    data = FORMS[form].encode()
    packed = {"plain": data, "gzip": gzip.compress(data), "zstd": zstandard.compress(data)}
    path = tmp_path / "log"
    path.write_bytes(packed[packing])
    assert read(path) == EVENTS


def test_text_lines_are_text(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_text("Jan  3 04:05:06 h sshd[1]: a\n\nJan  3 04:05:07 h sshd[1]: b\n")
    with open_log(path) as log:
        found = list(chunks(log))
    assert [(c.start, c.count, c.is_text) for c in found] == [(0, 3, True)]


def test_an_empty_file_has_no_chunks(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with open_log(path) as log:
        assert list(chunks(log)) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'[{"n": 1}, {"n"', "item 2"),
        (b'[{"n": 1}', "item 2"),
        (b'{\n "n": 1\n}\n{\n "n"', "item 2"),
        (gzip.compress(b'{"n": 1}' * 9999)[:-30], "log: "),
    ],
)
def test_a_file_that_ends_in_the_middle_says_where(
    tmp_path: Path, data: bytes, sentence: str
) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    with open_log(path) as log, pytest.raises(ReadingError, match=sentence):
        list(chunks(log))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="nowhere: No such file"):
        open_log(tmp_path / "nowhere")
