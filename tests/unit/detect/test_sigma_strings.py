"""Checklist points 1 to 13: how strings of a rule are compared with strings of an event."""

import pytest

from tests.support.sigma import holds, refused

pytestmark = pytest.mark.unit


def test_point_01_case_does_not_count() -> None:
    assert holds(r"f: 'C:\Windows\CMD.exe'", r"c:\windows\cmd.EXE")
    assert holds("f|contains: 'ÄÖÜ'", "xäöüx")
    assert holds("f|contains: 'ШИФР'", "зашифровано")
    assert not holds("f: 'cmd.exe'", "cmd.exf")


def test_point_01_folding_is_simple_lower_case() -> None:
    # ß is no ss, and İ is i with a dot, not i.
    assert not holds("f: 'strasse'", "straße")
    assert holds("f: 'STRAẞE'", "straße")
    assert holds("f: 'İstanbul'", "İSTANBUL")
    assert not holds("f: 'istanbul'", "İstanbul")


def test_point_01_a_sigma_at_the_end_is_a_sigma() -> None:
    # lower() writes a last sigma in another way: what folds must not depend on neighbours.
    assert holds("f|contains: 'ΟΔΟΣ'", "ΟΔΟΣΑ")
    assert holds("f|contains: 'οδος'", "ΟΔΟΣΑ")
    assert not holds("f|contains: 'ΟΔΟΥ'", "ΟΔΟΣΑ")


@pytest.mark.parametrize(
    ("chain", "good", "bad"),
    [
        ("cased", "Admin", "admin"),
        ("contains|cased", "xAdminx", "xadminx"),
        ("startswith|cased", "Admin1", "admin1"),
        ("cased|endswith", "theAdmin", "theadmin"),
    ],
)
def test_point_02_cased(chain: str, good: str, bad: str) -> None:
    assert holds(f"f|{chain}: Admin", good)
    assert not holds(f"f|{chain}: Admin", bad)


def test_point_02_cased_pattern() -> None:
    assert holds("f|cased: 'A*d?in'", "Axxdmin")
    assert not holds("f|cased: 'A*d?in'", "axxdmin")
    assert "cannot be combined" in refused("f|re|cased: 'a'")
    assert "cannot be combined" in refused("f|gt|cased: 1")


def test_point_03_a_plain_value_is_the_whole_value() -> None:
    assert holds("f: 150", "150")
    assert not holds("f: 150", "1500")
    assert not holds("f: 'cmd'", "cmd.exe")


def test_point_04_wildcards_cross_lines() -> None:
    assert holds("f: 'a*z'", "a\nb\r\nz")
    assert holds("f: 'a?z'", "a\nz")
    assert holds("f: 'a*z'", "az")
    assert not holds("f: 'a?z'", "az")
    assert not holds("f: 'a*z'", "az!")
    assert not holds("f: 'a*z'", "az\n")


def test_point_05_escaped_wildcards_are_plain() -> None:
    assert holds(r"f: 'a\*b'", "a*b")
    assert not holds(r"f: 'a\*b'", "axb")
    assert holds(r"f: 'a\?b'", "a?b")
    assert not holds(r"f: 'a\?b'", "axb")


def test_point_06_escaped_backslash_before_a_wildcard() -> None:
    assert holds(r"f: 'C:\\*'", "C:\\Windows")
    assert not holds(r"f: 'C:\\*'", "C:Windows")
    assert not holds(r"f: 'C:\\*x'", "C:*x")


def test_point_07_escaped_backslash_and_escaped_star() -> None:
    assert holds(r"f: 'a\\\*b'", r"a\*b")
    assert not holds(r"f: 'a\\\*b'", r"a\xb")
    assert not holds(r"f: 'a\\\*b'", "a*b")


def test_point_08_backslashes_single_and_double() -> None:
    assert holds(r"f: 'a\b'", r"a\b")
    assert holds(r"f: 'a\\b'", r"a\b")
    assert not holds(r"f: 'a\\b'", r"a\\b")
    assert holds(r"f: 'a\\\b'", r"a\\b")
    assert holds(r"f: 'a\\\\b'", r"a\\b")
    assert not holds(r"f: 'a\\\\b'", r"a\b")


def test_point_09_trailing_backslash_with_contains() -> None:
    assert holds("f|contains: '\\Desktop\\'", r"C:\Users\eve\Desktop\x.exe")
    assert not holds("f|contains: '\\Desktop\\'", r"C:\Users\eve\Desktop")
    assert holds("f|endswith: '\\Desktop\\'", "C:\\Users\\eve\\Desktop\\")
    assert not holds("f|endswith: '\\Desktop\\'", r"C:\Users\eve\Desktop\x")
    assert holds("f|startswith: '\\Desktop\\'", r"\Desktop\x")
    assert not holds("f|startswith: '\\Desktop\\'", r"\Desktopx")


def test_point_10_unc_paths() -> None:
    assert holds(r"f: '\\\\*\\IPC$'", r"\\10.0.0.5\IPC$")
    assert not holds(r"f: '\\\\*\\IPC$'", r"\10.0.0.5\IPC$")
    assert not holds(r"f: '\\\\*\\IPC$'", r"\\10.0.0.5\ADMIN$")


def test_point_11_wildcards_inside_affixed_values() -> None:
    assert holds("f|contains: 'net*user'", "cmd /c net  user eve")
    assert not holds("f|contains: 'net*user'", "cmd /c user net")
    assert holds("f|endswith: 'a?c'", "xxabc")
    assert not holds("f|endswith: 'a?c'", "xxabcd")
    assert holds("f|startswith: 'a*c'", "abbbcd")
    assert not holds("f|startswith: 'a*c'", "xabc")


def test_point_11_patterns_know_every_script_and_have_a_bound() -> None:
    assert holds("f: 'Ж*я?Z.[x]+'", "ЖжжЯÜz.[X]+")
    assert not holds("f: 'Ж*я?Z.[x]+'", "ЖжжЯÜzz[X]+")
    assert "longer than 2048 bytes" in refused(f"f: 'a*{'b' * 3000}'")
    assert holds(f"f|contains: '{'b' * 3000}'", "a" + "b" * 3000)


def test_point_12_stars_are_not_doubled() -> None:
    assert holds("f|contains: '*evil*'", "so evil it is")
    assert not holds("f|contains: '*evil*'", "so good it is")
    assert holds("f|endswith: '*.exe'", "a.exe")
    assert holds("f: '**.exe'", "a.exe")
    assert not holds("f: '**.exe'", "a.exes")


def test_point_13_the_empty_string_is_present_and_empty() -> None:
    assert holds("f: ''", "")
    assert not holds("f: ''", " ")
    assert not holds("f: ''", {"f": None})
    assert not holds("f: ''", {})


def test_a_lone_star_needs_a_value() -> None:
    assert holds("f: '*'", "x")
    assert holds("f: '*'", "")
    assert holds("f: '*'", 7)
    assert not holds("f: '*'", {"f": None})
    assert not holds("f: '*'", {})
    assert not holds("f: '*'", {"f": {"an": "object"}})
