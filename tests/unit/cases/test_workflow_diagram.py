"""The drawn workflows are those that decide (R10)."""

import pytest

from services.cases.domain.vocabulary import State
from services.cases.domain.workflow import RULES
from services.cases.evidence.domain.rules import RULES as EVIDENCE_RULES
from services.cases.evidence.domain.vocabulary import EvidenceState
from services.cases.review.domain.rules import RULES as REVIEW_RULES
from services.cases.review.domain.vocabulary import ReviewState
from tests.support.workflow_diagram import DOCUMENT, document

pytestmark = pytest.mark.unit


def test_the_document_is_what_the_code_is() -> None:
    current = DOCUMENT.read_text("utf-8")
    assert current == document(), "run: python -m tests.support.workflow_diagram"


def test_every_transition_and_every_verb_is_drawn() -> None:
    drawn = document()
    for table, initial in (
        (RULES, State.UNOPENED),
        (REVIEW_RULES, ReviewState.UNKNOWN),
        (EVIDENCE_RULES, EvidenceState.UNKNOWN),
    ):
        for rule in table.values():
            assert f"`{rule.verb}`" in drawn
            for state in rule.states:
                if rule.to:
                    begins = "[*]" if state == initial else state.value
                    assert f"{begins} --> {rule.to.value}: {rule.verb}" in drawn
