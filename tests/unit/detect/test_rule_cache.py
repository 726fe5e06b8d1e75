"""Parsed rules of the last start: the same rules, or none; whatever became of the file."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from services.detect.rules import cache as cache_module
from services.detect.rules.cache import FILE, RuleCache
from services.detect.rules.codec import decoded, encoded
from services.detect.rules.load import LoadReport, load_rules
from services.detect.rules.model import Rule
from services.detect.rules.parse import parse_rule
from services.detect.ruleset import PACK
from tests.support.sigma import HEAD

pytestmark = pytest.mark.unit

EVERYTHING = f"""{HEAD}
  text: {{a: x, 'b|contains': [y, 'Z*z'], 'c|startswith|cased': Q, 'd|endswith': e, f: '*'}}
  all: {{'a|contains|all': [a, b], 'n|neq': 3, 'w|windash|contains': ' -x'}}
  others: {{'r|re|i': 'a.+b$', 'i|cidr': ['10.0.0.0/8', 'fe80::/10'], 's|fieldref|endswith': t}}
  more: {{'e|exists': true, 'm|gte': 12345678901234567890123, 'f|lt': 1.5, 'h|hour': 3, z: null}}
  words: [one, 'two three']
  condition: (all of t* and not 1 of oth*) or 2 of (text) or words or not (more and 1 of them)
""".replace("2 of (text)", "1 of text")


def parts(rule: Rule) -> dict[str, object]:
    return {field.name: getattr(rule, field.name) for field in fields(rule)}


def there_and_back(rule: Rule) -> Rule:
    packed = msgspec.msgpack.encode(encoded(rule))
    return decoded(msgspec.msgpack.decode(packed), rule.path)


def test_a_rule_comes_back_as_it_was() -> None:
    rules = [parse_rule(EVERYTHING), *load_rules([PACK]).rules]
    for rule in rules:
        assert parts(there_and_back(rule)) == parts(rule)


def test_what_a_condition_names_often_is_written_once() -> None:
    names = " and ".join(["1 of them"] * 200)
    rule = parse_rule(f"{HEAD}  s: {{f: [{'abc, ' * 200}x]}}\n  condition: {names}\n")
    assert len(msgspec.msgpack.encode(encoded(rule))) < 20_000
    again = there_and_back(rule)
    assert parts(again) == parts(rule)


@pytest.mark.parametrize("written", [[], ["id"] * 15, None, {"a": 1}, [None] * 14 + [["x"]], 7])
def test_what_is_no_rule_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="no"):
        decoded(written, "r.yml")  # type: ignore[arg-type]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    for number in range(3):
        text = f"{HEAD}  s: {{f: {number}}}\n  condition: s\n"
        (folder / f"{number}.yml").write_text(
            f"id: {number}1111111-1111-4111-8111-111111111111\n" + text
        )
    return folder


def load(rules: Path, folder: Path, limit: int = 1 << 20) -> tuple[LoadReport, int, list[str]]:
    """Return the rules, how many came out of the cache, and what was logged."""
    kept = RuleCache(folder, limit)
    with capture_logs() as said:
        report = load_rules([rules], cache=kept)
        kept.save()
    return report, kept.hits, [line["event"] for line in said]


def test_a_second_start_parses_nothing_and_reads_the_same(rules: Path, tmp_path: Path) -> None:
    first, none, _ = load(rules, tmp_path / "cache")
    second, all_of_them, said = load(rules, tmp_path / "cache")
    assert (none, all_of_them, said) == (0, 3, [])
    assert [parts(rule) for rule in second.rules] == [parts(rule) for rule in first.rules]
    (place,) = (tmp_path / "cache").iterdir()
    assert (place.name, place.stat().st_mode & 0o777) == (FILE, 0o600)


def test_what_changed_is_parsed_and_what_is_gone_is_forgotten(rules: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    load(rules, folder)
    size = (folder / FILE).stat().st_size
    edited = (rules / "0.yml").read_text().replace("f: 0", "f: new")
    (rules / "0.yml").write_text(edited)
    (rules / "1.yml").unlink()
    report, hits, _ = load(rules, folder)
    assert (len(report.rules), hits) == (2, 1)
    assert load(rules, folder)[1] == 2
    assert (folder / FILE).stat().st_size < size


def test_other_values_of_placeholders_are_another_rule(rules: Path, tmp_path: Path) -> None:
    text = f"{HEAD}  s: {{'f|expand': '%who%'}}\n  condition: s\n"
    (rules / "e.yml").write_text(text)
    (rules / "placeholders.yml").write_text("who: ann\n")
    load(rules, tmp_path)
    assert load(rules, tmp_path)[1] == 4
    (rules / "placeholders.yml").write_text("who: bob\n")
    report, hits, _ = load(rules, tmp_path)
    assert hits == 3
    assert "bob" in str([rule.condition for rule in report.rules])


def other_parser(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "parser_digest", lambda: b"x" * 32)


def one_byte(path: Path, _: pytest.MonkeyPatch) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def half(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"")


def others_may_write(path: Path, _: pytest.MonkeyPatch) -> None:
    path.chmod(0o666)


def a_folder(path: Path, _: pytest.MonkeyPatch) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "happens", [other_parser, one_byte, half, empty, others_may_write, a_folder]
)
def test_a_cache_in_doubt_is_not_used_and_made_anew(
    rules: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    load(rules, tmp_path / "c")
    happens(tmp_path / "c" / FILE, monkeypatch)
    report, hits, said = load(rules, tmp_path / "c")
    assert (len(report.rules), hits) == (3, 0)
    assert said[0] == "cached rules are not used"
    if happens is not a_folder:
        assert load(rules, tmp_path / "c")[1:] == (3, [])


def test_a_damaged_entry_costs_only_itself(rules: Path, tmp_path: Path) -> None:
    load(rules, tmp_path)
    kept = RuleCache(tmp_path)
    entries = kept._read()
    key = next(iter(entries))
    entries[key] = msgspec.msgpack.encode([["no rule"]])
    kept._used, kept._fresh = entries, True
    kept.save()
    report, hits, said = load(rules, tmp_path)
    assert (len(report.rules), hits) == (3, 2)
    assert said == ["cached rule is damaged; parsed again"]


def test_too_much_is_not_kept_and_said(rules: Path, tmp_path: Path) -> None:
    assert load(rules, tmp_path / "c", limit=100)[2] == ["rules are not cached: too large"]
    assert not (tmp_path / "c").exists()


def test_a_folder_that_cannot_be_made_costs_two_lines(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report, _, said = load(rules, tmp_path / "file" / "cache")
    assert len(report.rules) == 3
    assert said == ["cached rules are not used", "rules are not cached"]
