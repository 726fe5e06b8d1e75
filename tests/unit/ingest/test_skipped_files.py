"""A file is passed over only where none of its events can hold the text that is sought."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from services.ingest.search import execute as execution
from services.ingest.search.execute import execute
from services.ingest.search.language import parse
from services.ingest.search.plan import Aggregation, Search
from services.ingest.search.skip import asks_for_words, rules_out
from services.ingest.store.duck import connect
from services.ingest.store.manifest import ListedFile
from services.ingest.store.parquet import merge_files, words_of, write_rows
from services.ingest.store.rows import decode
from tests.support.log_store import NOW, sealed

pytestmark = pytest.mark.unit
EVENTS = [
    {"user": "alice", "cmd": "C:\\Tools\\Invoke-Mimikatz.ps1"},
    {"user": "bob", "note": 'said "Straße"\nsecond line', "n": 4711},
    {"user": "eve", "note": "a \u017fecret of the \u212aremlin"},
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> ListedFile:
    """Return a file as the keeper makes it."""
    folder = tmp_path_factory.mktemp("store")
    duck = duckdb.connect()
    parts = []
    for number, one in enumerate(sealed(EVENTS)):
        parts.append(folder / f"{number}.parquet")
        write_rows(duck, decode(b"[" + one.data + b"]"), parts[-1])
    facts = merge_files(duck, parts, folder / "merged.parquet", 0, [], None)
    duck.close()
    return ListedFile(
        str(folder / "merged.parquet"), "web", facts.sha256, facts.rows, facts.size,
        facts.min_time, facts.max_time, frozenset(), None,
    )  # fmt: skip


def asked(file: ListedFile, query: str) -> tuple[int, int]:
    """Return how many events *query* finds, by a page and by a figure, and how many were read."""
    search = Search(
        parse(query), NOW - timedelta(hours=1), NOW + timedelta(hours=1), [file],
        aggregations={"n": Aggregation("count")},
    )  # fmt: skip
    duck = connect(Path(file.path).parent, 256, 1)
    answer = execute(duck, search, lambda f: Path(f.path), lambda: None)
    duck.close()
    assert answer.aggregations["n"]["count"] == len(answer.hits)
    return len(answer.hits), answer.rows


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("mimikatz", 1),
        ("MIMI", 1),
        ("invoke-mimikatz.ps1", 1),
        (r'"Tools\Invoke"', 1),
        ("vok*katz", 1),
        ("secret", 1),  # RE2 holds U+017F to be an s
        ("kremlin", 1),
        ("straße", 1),
        ("econd", 1),
        ('"said \\"Stra"', 1),
        ("4711", 1),
        ("mimikatz OR nothingofthekind", 1),
        ("NOT nothingofthekind", 3),
    ],
)
def test_what_is_there_is_found(
    file: ListedFile, query: str, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "WORTH_ASKING", 0)
    assert asked(file, query) == (found, 3)


@pytest.mark.parametrize(
    "query",
    ["nothingofthekind", "mimikatz AND nothing", "(nowhere OR nothing)", "mimikatzz",
     'user:alice "rubeus"'],
)  # fmt: skip
def test_a_file_without_the_word_is_not_read(
    file: ListedFile, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "WORTH_ASKING", 0)
    assert asked(file, query) == (0, 0)


@pytest.mark.parametrize("query", ["abc", "203.0.113.9", "user:mimikatz", "NOT mimikatz", "*"])
def test_some_questions_are_not_about_words(query: str) -> None:
    assert not asks_for_words(parse(query))
    assert not rules_out(parse(query), "")


def test_too_many_words_are_none(file: ListedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    duck = duckdb.connect()
    assert "mimikatz" in (words_of(duck, [Path(file.path)]) or "").split()
    monkeypatch.setattr("services.ingest.store.parquet.MAX_WORDS_BYTES", 10)
    assert words_of(duck, [Path(file.path)]) is None
    duck.close()
