"""Legal holds on an incident, in any state but merged (R30c, I11)."""

import pytest

from services.cases.domain import commands as c
from services.cases.domain.incident import fold
from services.cases.domain.vocabulary import State
from tests.support.given import given
from tests.support.incidents import LG, SR, command, story

pytestmark = pytest.mark.unit

PLACE, RELEASE = command(c.PlaceLegalHold, LG), command(c.ReleaseLegalHold, LG)


@pytest.mark.parametrize("state", [State.OPENED, State.CONTAINED, State.CLOSED])
def test_holds_are_in_force_until_each_is_released(state: State) -> None:
    placed = [*story(state), *given(*story(state)).when(PLACE)]
    second = command(c.PlaceLegalHold, LG, hold="Docket 7")
    both = [*placed, *given(*placed).when(second)]
    assert fold(both).holds == ("Docket 42/26", "Docket 7")
    assert fold(both).state is state
    assert given(*both).when(PLACE) == []  # it is so already
    left = [*both, *given(*both).when(RELEASE)]
    assert fold(left).holds == ("Docket 7",)
    assert given(*left).refuses(RELEASE) == {"hold_unknown"}


def test_only_legal_holds_and_always_with_name_and_reason() -> None:
    opened = given(*story(State.OPENED))
    assert opened.refuses(command(c.PlaceLegalHold, SR)) == {"role_missing"}
    bare = command(c.PlaceLegalHold, LG, hold=" ", reason="")
    assert opened.refuses(bare) == {"text_missing", "reason_missing"}
    assert given(*story(State.MERGED)).refuses(PLACE) == {"wrong_state"}
