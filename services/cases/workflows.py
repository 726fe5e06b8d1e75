"""The state machines of cases as data (R10): `GET /v1/workflow` serves them, docs draw them.

The rules themselves are read from the tables that decide; nothing is said a second time.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from services.cases.domain.vocabulary import State
from services.cases.domain.workflow import RULES, TERMINAL
from services.cases.evidence.domain.rules import RULES as EVIDENCE_RULES
from services.cases.evidence.domain.vocabulary import EvidenceState
from services.cases.moves import SYSTEM_ONLY
from services.cases.review.domain.rules import ENDED
from services.cases.review.domain.rules import RULES as REVIEW_RULES
from services.cases.review.domain.vocabulary import ReviewState

__all__ = ["workflow"]


def workflow() -> dict[str, Any]:
    """Return the incident's workflow, and those of the aggregates beside it."""
    return {
        **_machine(State, State.UNOPENED, TERMINAL, RULES),
        "aggregates": {
            "review": _machine(ReviewState, ReviewState.UNKNOWN, ENDED, REVIEW_RULES),
            "evidence": _machine(
                EvidenceState, EvidenceState.UNKNOWN, {EvidenceState.DISPOSED}, EVIDENCE_RULES
            ),
        },
    }


def _machine(
    states: type[StrEnum], initial: StrEnum, terminal: Iterable[StrEnum], rules: Mapping[Any, Any]
) -> dict[str, Any]:
    return {
        "states": [state.value for state in states],
        "initial": initial.value,
        "terminal": sorted(state.value for state in terminal),
        "commands": [_command(states, command, rule) for command, rule in rules.items()],
    }


def _command(states: type[StrEnum], command: type, rule: Any) -> dict[str, Any]:
    """Return one row; what only an incident's rule knows is left at its default for others."""
    to, stands_in = rule.to, getattr(rule, "stands_in", None)
    return {
        "command": command.__name__,
        "verb": rule.verb,
        "from": [state.value for state in states if state in rule.states],
        "to": to.value if to else None,
        "back": getattr(rule, "back", False),
        "roles": sorted(rule.roles),
        "duty_manager_for": stands_in.value if stands_in else None,
        "system_only": command in SYSTEM_ONLY,
    }
