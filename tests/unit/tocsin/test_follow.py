"""A growing file through every rotation: each line once, in order, also after a restart."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin.follow import Follower, Position, load_position, save_position
from tocsin.reading import ReadingError

pytestmark = pytest.mark.unit


class Place:
    """A log that grows, and what was read of it."""

    def __init__(self, folder: Path) -> None:
        self.log, self.state = folder / "app.log", folder / "state" / "s.json"
        self.lines: list[str] = []
        self.keys: dict[str, str] = {}  # key and place of a line → the line: what ingest knows
        self.got: list[str] = []
        self.follower = Follower(self.log, None)
        self.count = 0

    def write(self, lines: int, end: str = "\n") -> None:
        with self.log.open("a") as file:
            for number in range(lines):
                self.count += 1
                line = f"line {self.count} " + "x" * (self.count % 50)
                self.lines.append(line)
                file.write(line + (end if number == lines - 1 else "\n"))

    def drain(self, *, confirmed: bool = True) -> None:
        """Read until nothing comes twice in a row; the last portion stays unsaved on request."""
        idle = 0
        while idle < 3:
            portion = self.follower.read()
            if portion is None:
                idle += 1
                continue
            idle = 0
            for number, line in enumerate(portion.chunk.body.decode().split("\n")):
                name = f"{portion.key}/{number}/{line}"
                if name not in self.keys:  # ingest recognises what came before
                    self.keys[name] = line
                    self.got.append(line)
            if not confirmed:
                return
            save_position(self.state, portion.after)
            self.follower.confirm(portion)

    def restart(self) -> None:
        self.follower.close()
        self.follower = Follower(self.log, load_position(self.state))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.follower.close()


def test_a_file_is_waited_for_and_a_line_too(place: Place) -> None:
    place.drain()
    place.write(3, end="")
    place.drain()
    assert place.got == place.lines[:2]
    with place.log.open("a") as file:
        file.write("\n")
    place.drain()
    assert place.got == place.lines


def test_rename_and_create_with_more_written_to_the_old_file(place: Place) -> None:
    place.write(5)
    place.drain()
    place.write(2)
    place.log.rename(f"{place.log}.1")
    with Path(f"{place.log}.1").open("a") as old:
        old.write("late\n")
    place.lines.append("late")
    place.drain()
    place.write(4)
    place.drain()
    assert place.got == place.lines


def test_rotated_while_away(place: Place) -> None:
    place.write(5)
    place.drain()
    place.follower.close()
    for number in (3, 2, 1):
        place.write(7)
        moved = Path(f"{place.log}.{number}")
        place.log.rename(moved)
        os.utime(moved, (1_800_000_000 - number, 1_800_000_000 - number))
    place.write(2)
    place.restart()
    place.drain()
    assert place.got == place.lines


@pytest.mark.parametrize("away", [False, True])
def test_copytruncate(place: Place, away: bool) -> None:
    place.write(6)
    place.drain()
    place.write(3)  # read from the copy
    shutil.copy(place.log, f"{place.log}.1")
    os.truncate(place.log, 0)
    if away:
        place.restart()
    place.drain()
    place.write(20)
    place.drain()
    assert place.got == place.lines


def test_truncated_and_grown_beyond_where_it_stood(place: Place) -> None:
    place.write(6)
    place.drain()
    os.truncate(place.log, 0)
    place.write(20)
    place.drain()
    assert place.got == place.lines


def test_an_inode_given_to_another_file(place: Place) -> None:
    place.write(6)
    place.drain()
    known = load_position(place.state)
    assert known is not None
    place.follower.close()
    place.log.unlink()
    place.write(9)
    status = place.log.stat()
    save_position(
        place.state,
        Position(status.st_dev, status.st_ino, known.head_bytes, known.head, known.offset, 0),
    )
    place.restart()
    place.drain()
    assert place.got == place.lines


def test_what_was_sent_and_not_noted_is_sent_under_the_same_ids(place: Place) -> None:
    place.write(700)
    place.drain(confirmed=False)
    place.restart()
    place.write(300)
    place.drain()
    assert place.got == place.lines


def test_a_line_without_an_end_comes_in_pieces_and_is_bounded(place: Place) -> None:
    place.log.write_bytes(b"y" * (3 << 20) + b"\nz\n")
    sizes = []
    while portion := place.follower.read():
        sizes.append(len(portion.chunk.body))
        place.follower.confirm(portion)
    assert sum(sizes) == (3 << 20) + len("\nz")
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("seed", range(20))
def test_any_course_of_writing_rotating_and_dying(place: Place, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's course
    place.write(1)
    place.drain()
    for step in range(40):
        match chance.randrange(6):
            case 0 | 1:
                place.write(chance.randrange(1, 900))
            case 2:
                place.drain()
            case 3:
                place.drain(confirmed=False)
                place.restart()
            case 4 if place.log.exists():
                moved = Path(f"{place.log}.{step:02}")
                place.log.rename(moved)
                os.utime(moved, (1_700_000_000 + step, 1_700_000_000 + step))
                place.write(1)
            case _:
                place.restart()
    place.drain()
    assert place.got == place.lines


def test_a_state_that_is_none_is_answered_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"x": 1}')
    with pytest.raises(ReadingError, match="remove it to begin anew"):
        load_position(tmp_path / "s.json")
