"""When a server that met a full disk waits, and when it starts anew."""

import pytest

from tocsin.embedded.full_disk import FULL, ROOM, FullDisk, Verdict

pytestmark = pytest.mark.unit


def test_with_room_and_no_complaint_nothing_is_done() -> None:
    disk = FullDisk()
    assert disk.look(FULL, b"[INF] Server is ready") is Verdict.FINE


@pytest.mark.parametrize(
    ("free", "said"), [(FULL - 1, b""), (ROOM - 1, b"3.blk: no space left on device")]
)
def test_a_full_disk_is_waited_out_and_then_it_starts_anew_once(free: int, said: bytes) -> None:
    disk = FullDisk()
    assert disk.look(free, said) is Verdict.FULL
    assert disk.look(ROOM - 1, b"") is Verdict.FULL  # some room, but not enough
    assert disk.look(ROOM, b"") is Verdict.ANEW
    assert disk.look(ROOM, b"") is Verdict.FINE


def test_a_complaint_counts_even_if_there_is_room_by_now() -> None:
    assert FullDisk().look(10 * ROOM, b"No space left on device") is Verdict.ANEW
