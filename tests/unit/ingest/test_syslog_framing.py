"""Messages are cut the same however the bytes arrive; senders are known by the narrowest entry."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.doors.syslog_framing import Framer, FramingError
from services.ingest.doors.syslog_senders import Senders, SendersError

pytestmark = pytest.mark.unit
lines = st.binary(min_size=1, max_size=40).filter(
    lambda b: not set(b) & {0, 10, 13} and not b[:1].isdigit() and b.strip(b"\r\n\0") == b
)
frames = st.lists(st.tuples(lines, st.sampled_from(["count", "lf", "crlf", "nul"])), max_size=8)


def wire(wanted: list[tuple[bytes, str]]) -> bytes:
    ends = {"lf": b"\n", "crlf": b"\r\n", "nul": b"\0"}
    return b"".join(
        b"%d %s" % (len(line), line) if how == "count" else line + ends[how] for line, how in wanted
    )


@given(frames, st.lists(st.integers(0, 400), max_size=6))
def test_every_way_to_split_the_stream_gives_the_same(
    wanted: list[tuple[bytes, str]], cuts: list[int]
) -> None:
    stream, framer, found = wire(wanted), Framer(), []
    edges = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        found += framer.feed(stream[start:end])
    assert found + framer.end() == [line for line, _ in wanted]


def test_a_counted_message_may_hold_newlines() -> None:
    assert Framer().feed(b"11 <13>a\nb c d<14>next\n") == [b"<13>a\nb c d", b"<14>next"]


def test_a_line_that_begins_with_a_date_is_a_line() -> None:
    assert Framer().feed(b"2026-01-02T03:04:05Z host app: x\n") == [
        b"2026-01-02T03:04:05Z host app: x"
    ]


def test_the_last_message_needs_no_end() -> None:
    framer = Framer()
    assert framer.feed(b"<13>unfinished") == []
    assert framer.end() == [b"<13>unfinished"]
    assert framer.end() == []


def test_bounds() -> None:
    with pytest.raises(FramingError, match="at most 100"):
        Framer(100).feed(b"101 x")
    framer = Framer(100)
    assert framer.feed(b"x" * 250) == [b"x" * 100, b"x" * 100]
    assert framer.feed(b"\n") == [b"x" * 50]


def test_senders_by_address() -> None:
    senders = Senders({"10.0.0.0/8": "lan", "10.1.0.0/16": "dc", "10.1.2.3": "fw", "::1": "here"})
    found = [
        senders.by_address(a)
        for a in ("10.9.9.9", "10.1.9.9", "10.1.2.3", "::ffff:10.1.2.3", "::1", "192.0.2.1", "x")
    ]
    assert found == ["lan", "dc", "fw", "fw", "here", None, None]


def test_senders_by_certificate() -> None:
    certificate = {
        "subject": ((("commonName", "Web.example"),),),
        "subjectAltName": (("DNS", "alt.example"),),
    }
    assert Senders({"cn:web.example": "w"}).by_certificate(b"", certificate) == "w"
    assert Senders({"san:ALT.example": "a"}).by_certificate(b"", certificate) == "a"
    assert Senders({"cn:other": "w"}).by_certificate(b"", certificate) is None
    empty = "e3:b0:c4:42:98fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (
        Senders({f"sha256:{empty}": "f", "cn:web.example": "w"}).by_certificate(b"", certificate)
        == "f"
    )


def test_a_table_that_means_nothing_is_refused() -> None:
    with pytest.raises(SendersError, match="host bits"):
        Senders({"10.0.0.1/8": "has host bits"})
