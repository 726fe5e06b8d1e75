"""Checklist points 38 to 47: encodings of values, and the dashes of Windows options."""

import base64

import pytest

from tests.support.sigma import holds, refused

pytestmark = pytest.mark.unit


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def test_point_38_modifiers_work_in_the_order_written() -> None:
    assert holds("f|base64|contains: 'IEX'", f"x {_base64(b'IEX')} x")
    assert not holds("f|base64: 'IEX'", f"x {_base64(b'IEX')} x")
    assert "would encode its wildcard" in refused("f|contains|base64: 'IEX'")
    assert "before the encoding" in refused("f|base64|windash: '-a'")
    assert "unknown modifier" in refused("f|contians: x")
    assert "stands twice" in refused("f|contains|contains: x")
    assert "exclude each other" in refused("f|contains|endswith: x")
    assert "empty modifier" in refused("f|: x")


def test_point_39_base64() -> None:
    assert holds("f|base64: 'http://'", _base64(b"http://"))
    assert not holds("f|base64: 'http://'", "http://")
    assert holds("f|base64: 'ä'", _base64("ä".encode()))


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_point_40_base64offset_finds_the_value_at_every_place(before: str, after: str) -> None:
    text = _base64(f"{before}/bin/bash{after}".encode())
    assert holds("f|base64offset|contains: '/bin/bash'", text)
    assert not holds("f|base64offset|contains: '/bin/dash'", text)


def test_point_40_base64offset_cuts_what_neighbours_change() -> None:
    for piece in ("L2Jpbi9iYXNo", "9iaW4vYmFza", "vYmluL2Jhc2"):
        assert holds("f|base64offset: '/bin/bash'", piece)
    assert not holds("f|base64offset: '/bin/bash'", "AL2Jpbi9iYXNo")
    assert "too short" in refused("f|base64offset|contains: 'a'")


def test_point_40_all_asks_for_each_value_not_for_each_variant() -> None:
    body = "f|base64offset|contains|all: ['/bin/bash', '/dev/tcp']"
    assert holds(body, _base64(b"/bin/bash -i >& /dev/tcp"))
    assert not holds(body, _base64(b"/bin/bash -i >& /dev/udp"))


@pytest.mark.parametrize(
    ("modifier", "codec", "mark"),
    [
        ("wide", "utf-16-le", b""),
        ("utf16le", "utf-16-le", b""),
        ("utf16be", "utf-16-be", b""),
        ("utf16", "utf-16-le", b"\xff\xfe"),
    ],
)
def test_point_41_utf16_before_base64(modifier: str, codec: str, mark: bytes) -> None:
    for text in ("ping", "ünicode", "smile 😀"):
        assert holds(f"f|{modifier}|base64: '{text}'", _base64(mark + text.encode(codec)))
        assert not holds(f"f|{modifier}|base64: '{text}'", _base64(text.encode()))
        padded = _base64(mark + f"{text}".encode(codec) + b"\0\0")
        assert holds(f"f|{modifier}|base64offset|contains: '{text}'", padded)


def test_point_42_a_wildcard_cannot_be_encoded() -> None:
    assert "wildcard" in refused("f|base64: 'a*b'")
    assert "wildcard" in refused("f|base64offset|contains: 'a?bcd'")
    assert "wildcard" in refused("f|wide|base64: 'a*b'")
    assert holds(r"f|base64: 'a\*b'", _base64(b"a*b"))


def test_point_43_bytes_cannot_be_the_end() -> None:
    for modifier in ("wide", "utf16le", "utf16be", "utf16"):
        assert "needs base64" in refused(f"f|{modifier}: 'cmd'")
        assert "needs base64" in refused(f"f|{modifier}|contains: 'cmd'")
    assert "cannot follow" in refused("f|wide|utf16: 'cmd'")


def test_point_44_base64_is_compared_without_case_unless_cased() -> None:
    encoded = _base64(b"Invoke")
    assert holds("f|base64|contains: 'Invoke'", encoded.swapcase())
    assert not holds("f|base64|contains|cased: 'Invoke'", encoded.swapcase())
    assert holds("f|base64|contains|cased: 'Invoke'", encoded)


def test_point_45_five_dashes() -> None:
    for dash in "-/–—―":
        assert holds("f|windash|contains: ' -enc '", f"powershell {dash}enc x")
        assert holds(f"f|windash|contains: ' {dash}enc '", "powershell -enc x")
    assert not holds("f|windash|contains: ' -enc '", "powershell +enc x")
    assert not holds("f|contains: ' -enc '", "powershell /enc x")
    assert not holds("f|windash|contains|cased: ' -enc '", "powershell /ENC x")


def test_point_46_every_dash_permutes_also_inside_words() -> None:
    assert holds("f|windash|contains: '-a -b'", "cmd /a —b")
    assert holds("f|windash|contains: '-a -b'", "cmd /a -b")
    assert not holds("f|windash|contains: '-a -b'", "cmd /a b")
    # The specification knows no exception for words, pySigma does.
    assert holds("f|windash|contains: 'foo-bar'", "foo/bar")
    assert not holds("f|windash|contains: 'foo-bar'", "foo_bar")


def test_point_46_dashes_before_an_encoding_become_variants() -> None:
    assert holds("f|windash|base64|contains: '-enc'", _base64("–enc".encode()))
    assert not holds("f|windash|base64|contains: '-enc'", _base64(b"+enc"))
    assert "too many dashes" in refused("f|windash|base64: '- - - - - - - -'")


def test_point_47_contains_all_windash() -> None:
    body = "f|contains|all|windash: [' -x', ' -y']"
    assert holds(body, "cmd /y /x")
    assert not holds(body, "cmd /y x")
    assert holds("f|contains|windash: ' -x*y'", "cmd /x and y")
