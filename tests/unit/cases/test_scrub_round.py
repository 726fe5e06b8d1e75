"""What one reading of the CASES stream finds missing."""

from hypothesis import given
from hypothesis import strategies as st

from services.cases.scrub import Placed, Round, placed
from services.cases.tail import REACHED
from shared.contracts.cases import IncidentOpenedV1, LogCheckpointV1


def read(*messages: Placed | None) -> Round:
    done = Round()
    for sequence, message in enumerate(messages, start=1):
        done.take(sequence, message)
    return done


def at(position: int, *, late: bool = False) -> Placed:
    return Placed(position, f"id-{position}", late)


def test_holes_are_what_lies_between() -> None:
    assert read(at(3), at(4), at(7), None, at(9)).lost() == [5, 6, 8]


def test_what_was_published_again_is_not_lost() -> None:
    assert read(at(1), at(4), at(2, late=True), at(5)).lost() == [3]


def test_a_late_message_does_not_move_the_place() -> None:
    """Read at the stream's head, after what stood before it has expired."""
    assert read(at(2, late=True), at(10), at(11)).lost() == []


def test_what_should_stand_in_front_is_lost_unless_it_was_published_again() -> None:
    assert read(at(5), at(3, late=True)).lost(before=[3, 4]) == [4]


@given(st.integers(1, 60), st.data())
def test_exactly_what_was_taken_out_is_found(length: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, 1000))
    whole = list(range(first, first + length))
    gone = data.draw(st.sets(st.sampled_from(whole)))
    again = data.draw(st.sets(st.sampled_from(sorted(gone)))) if gone else set()
    kept = [p for p in whole if p not in gone]
    found = read(*map(at, kept), *(at(p, late=True) for p in again)).lost()
    inside = range(kept[0], kept[-1]) if kept else range(0)
    assert found == [p for p in whole if p in gone - again and p in inside]


def test_where_a_message_belongs_is_in_its_headers() -> None:
    event = {"ce-type": IncidentOpenedV1.SUBJECT, "ce-position": "7", "ce-id": "x"}
    assert placed(event) == Placed(7, "x", late=False)
    assert placed({**event, REACHED: "9"}) == Placed(7, "x", late=True)
    assert placed({"ce-type": LogCheckpointV1.SUBJECT, "ce-position": "7"}) is None
