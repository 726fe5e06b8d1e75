"""Rules from zip archives, and values of placeholders from files, in force like any other rule."""

import stat
import zipfile
from pathlib import Path

import pytest

from services.detect.rules import archive
from services.detect.rules.load import ReadFiles, load_rules
from services.detect.rules.match import Event, PlainMatcher
from tests.support.sigma import HEAD, HERE

pytestmark = pytest.mark.unit

GOOD = f"{HEAD}  s: {{f: 1}}\n  condition: s\n"
EXPANDING = f"{HEAD}  s: {{f|expand: '%names%'}}\n  condition: s\n"


def packed(place: Path, members: dict[str, str], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = place / "rules.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


def reasons(place: Path) -> list[str]:
    return [error.reason for error in load_rules([place]).errors]


def test_an_archive_is_a_place_and_a_file_of_a_place(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a/good.yml": GOOD, "b.txt": "no rule", "c.yml": "title: x"})
    for place in (path, tmp_path):
        report = load_rules([place])
        assert [rule.path for rule in report.rules] == [f"{path}/a/good.yml"]
        assert [(e.path, e.reason) for e in report.errors] == [
            (f"{path}/c.yml", "'logsource' must be a map")
        ]
        assert report.documents == 2


@pytest.mark.parametrize("name", ["../up.yml", "/etc/up.yml", "a/../../up.yml", "C:/up.yml"])
def test_names_that_lead_out_are_refused_one_by_one(tmp_path: Path, name: str) -> None:
    report = load_rules([packed(tmp_path, {name: GOOD, "good.yml": GOOD})])
    assert len(report.rules) == 1
    assert [error.reason for error in report.errors] == ["its name leads out of the archive"]


def test_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.zip"
    link = zipfile.ZipInfo("link.yml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(link, "/etc/passwd")
    assert reasons(path) == ["a link, not a file"]


def test_bombs_are_refused_member_by_member_and_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, {"bomb.yml": "#" * (64 << 20), "good.yml": GOOD})
    assert path.stat().st_size < 100_000
    assert reasons(path) == ["file is larger than 512 KiB"]
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1 << 20)
    many = {f"{number:02}.yml": "#" * 500_000 for number in range(9)}
    assert reasons(packed(tmp_path, many))[-1] == "archive unpacks to more than 1 MiB"
    monkeypatch.setattr(archive, "MAX_MEMBERS", 8)
    assert reasons(path) == ["archive holds more than 8 rule files"]
    monkeypatch.setattr(archive, "MAX_ARCHIVE", 10)
    assert reasons(path) == ["archive is larger than 0 MiB"]


def test_what_is_no_archive_or_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.zip"
    path.write_bytes(b"PK no archive")
    assert reasons(path) == ["not a zip archive: File is not a zip file"]
    assert reasons(packed(tmp_path, {"a.yml": GOOD}, zipfile.ZIP_BZIP2)) == [
        "packed in another way than stored or deflated"
    ]
    packed(tmp_path, {"a.yml": GOOD}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"condition", b"comdition", 1))
    assert reasons(path)[0].startswith("damaged: Bad CRC-32")
    assert reasons(tmp_path / "missing.zip")[0].startswith("cannot be read")


def test_placeholders_come_from_files_beside_the_rules(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(EXPANDING)
    read: ReadFiles = {}
    assert "%names%" in load_rules([tmp_path], read=read).errors[0].reason
    values = tmp_path / "placeholders.yml"
    versions = set()
    for written in ("names: [ann, bob]", "names: bob\nothers: 7"):
        values.write_text(written)
        report = load_rules([tmp_path], read=read)  # read again, though its file is unchanged
        assert (report.errors, report.documents) == ((), 1)
        assert PlainMatcher(report.rules).match(Event({"f": "Bob"}, HERE))
        assert not PlainMatcher(report.rules).match(Event({"f": "eve"}, HERE))
        versions.add(report.rules[0].version)
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a", "placeholders are a map of names to values"),
        ("names: []", "placeholder 'names' needs a value, or a list of values"),
        ("names: [{a: b}]", "placeholder 'names' needs a value, or a list of values"),
        ("names: &a [x]", "YAML anchors and aliases are not allowed"),
        ("{", "not YAML: did not find expected node content"),
    ],
)
def test_a_file_of_placeholders_that_is_none_is_named(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "placeholders.yml").write_text(text)
    (tmp_path / "r.yml").write_text(GOOD)
    report = load_rules([tmp_path])
    assert [(Path(e.path).name, e.reason) for e in report.errors] == [("placeholders.yml", reason)]
    assert len(report.rules) == 1
