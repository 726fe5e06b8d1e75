"""The drawn workflow is the one that decides (R10)."""

import pytest

from services.cases.domain.vocabulary import State
from services.cases.domain.workflow import RULES
from tests.support.workflow_diagram import DOCUMENT, document

pytestmark = pytest.mark.unit


def test_the_document_is_what_the_code_is() -> None:
    current = DOCUMENT.read_text("utf-8")
    assert current == document(), "run: python -m tests.support.workflow_diagram"


def test_every_transition_and_every_verb_is_drawn() -> None:
    drawn = document()
    for rule in RULES.values():
        assert f"`{rule.verb}`" in drawn
        for state in rule.states:
            if rule.to and state is not State.UNOPENED:
                assert f"{state.value} --> {rule.to.value}: {rule.verb}" in drawn
