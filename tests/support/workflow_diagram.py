"""The diagrams in docs/workflow.md, drawn from what `GET /v1/workflow` serves (R10).

`python -m tests.support.workflow_diagram` writes it; a test fails when it is not what the code is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.cases.workflows import workflow

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "workflow.md"

_HEAD = """# The workflows of cases

Written by `python -m tests.support.workflow_diagram` from the tables that decide, which are also
what `GET /v1/workflow` answers. Do not edit it here.
"""
_TITLES = {
    "review": "A post-incident review",
    "evidence": "An item of evidence",
}

Machine = dict[str, Any]


def _edges(machine: Machine) -> Iterator[str]:
    def name(state: str) -> str:
        return "[*]" if state == machine["initial"] else state

    for row in machine["commands"]:
        for state in row["from"]:
            if row["to"]:
                yield f"    {name(state)} --> {name(row['to'])}: {row['verb']}"
            elif row["back"]:
                yield f"    note right of {name(state)}: {row['verb']} leads back to where it was"
    for state in machine["states"]:
        if state in machine["terminal"]:
            yield f"    {state} --> [*]"


def _rows(machine: Machine) -> Iterator[str]:
    yield "| command | verb | in | to | by |"
    yield "| --- | --- | --- | --- | --- |"
    for row in machine["commands"]:
        to = "the former state" if row["back"] else row["to"] or "–"
        who = ", ".join(row["roles"])
        if row["duty_manager_for"]:
            who += f" (duty_manager for {row['duty_manager_for']})"
        states = ", ".join(row["from"])
        yield f"| {row['command']} | `{row['verb']}` | {states} | {to} | {who} |"


def _drawn(title: str, machine: Machine) -> str:
    diagram = "\n".join(("```mermaid", "stateDiagram-v2", *_edges(machine), "```"))
    return f"\n## {title}\n\n{diagram}\n\n" + "\n".join(_rows(machine)) + "\n"


def document() -> str:
    """Return docs/workflow.md as the code would have it."""
    incident = workflow()
    parts = [_drawn("An incident", incident)]
    for name, machine in incident["aggregates"].items():
        parts.append(_drawn(_TITLES[name], machine))
    return _HEAD + "".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
