"""The case-management policy: a YAML file that is taken whole, or refused with its line (R29)."""

from pathlib import Path

from services.cases.domain.completeness import FIELDS, PHASES, missing
from services.cases.domain.incident import Incident
from services.cases.domain.values import Phase, Policy
from services.cases.domain.vocabulary import State
from services.cases.views import Document
from shared.errors import UserError
from shared.yaml_lines import LineError, Node, fields, read

__all__ = ["SHIPPED", "CasePolicyError", "completeness", "load", "parse"]

SHIPPED = Path(__file__).with_name("policies") / "case-management-2026.11.0.yaml"


class CasePolicyError(UserError):
    """The policy's file cannot be taken; the message says where and why."""


def load(path: Path) -> Policy:
    """Return the policy in the file at *path*; CasePolicyError names file and line."""
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CasePolicyError(f"{path}: cannot be read: {error}") from error
    except LineError as error:
        raise CasePolicyError(f"{path}:{error.line}: {error.why}") from error


def parse(text: str) -> Policy:
    """Return the policy in *text*; LineError for anything that it does not know."""
    top = fields(read(text), "policy", ("policy", "version", "phases"))
    phases = tuple(_phase(node) for node in top.items("phases"))
    if len({phase.state for phase in phases}) != len(phases):
        raise LineError(top.line_of("phases"), "a phase stands twice")
    return Policy(name=top.text("policy"), version=top.text("version"), phases=phases)


def _phase(node: Node) -> Phase:
    row = fields(node, "phase", ("phase", "fields"))
    name = row.text("phase")
    if name not in PHASES:
        known = ", ".join(PHASES)
        raise LineError(row.line_of("phase"), f"{name!r} is no phase (they are {known})")
    wanted = row.texts("fields")
    for field, line in wanted:
        if field not in FIELDS:
            raise LineError(line, f"{name}: no field {field!r} (they are {', '.join(FIELDS)})")
    return Phase(state=State(name), fields=tuple(dict.fromkeys(field for field, _ in wanted)))


def completeness(policy: Policy, incident: Incident) -> Document:
    """Return what *policy* demands in each phase and what is missing of it now."""
    phases = [(phase, missing(incident, phase)) for phase in policy.phases]
    return {
        "policy": policy.name,
        "version": policy.version,
        "phases": [
            {
                "phase": phase.state.value,
                "demanded": list(phase.fields),
                "missing": list(lacking),
                "complete": not lacking,
            }
            for phase, lacking in phases
        ],
    }
