"""The diagram in docs/workflow.md, drawn from the workflow's own data (R10).

`python -m tests.support.workflow_diagram` writes it; a test fails when it is not what the code is.
"""

from collections.abc import Iterator
from pathlib import Path

from services.cases.domain.vocabulary import State
from services.cases.domain.workflow import RULES, TERMINAL

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "workflow.md"

_HEAD = """# The workflow of an incident

Written by `python -m tests.support.workflow_diagram` from `services/cases/domain/workflow.py`,
which is also what decides and what `GET /v1/workflow` answers. Do not edit it here.

"""


def _name(state: State) -> str:
    return "[*]" if state is State.UNOPENED else state.value


def _edges() -> Iterator[str]:
    for rule in RULES.values():
        for state in State:
            if state in rule.states and rule.to:
                yield f"    {_name(state)} --> {_name(rule.to)}: {rule.verb}"
            elif state in rule.states and rule.back:
                yield f"    note right of {_name(state)}: {rule.verb} leads back to where it was"


def _row(command: str, verb: str, states: str, to: str, who: str) -> str:
    return f"| {command} | {verb} | {states} | {to} | {who} |"


def _rows() -> Iterator[str]:
    yield _row("command", "verb", "in", "to", "by")
    yield _row("---", "---", "---", "---", "---")
    for command, rule in RULES.items():
        states = ", ".join(state.value for state in State if state in rule.states)
        to = "the former state" if rule.back else rule.to.value if rule.to else "–"
        who = ", ".join(sorted(rule.roles))
        if rule.stands_in:
            who += f" (duty_manager for {rule.stands_in})"
        yield _row(command.__name__, f"`{rule.verb}`", states, to, who)


def document() -> str:
    """Return docs/workflow.md as the code would have it."""
    ends = (f"    {_name(state)} --> [*]" for state in State if state in TERMINAL)
    diagram = "\n".join(("```mermaid", "stateDiagram-v2", *_edges(), *ends, "```"))
    return f"{_HEAD}{diagram}\n\n" + "\n".join(_rows()) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
