"""`tocsin severity` and `tocsin priority`: what a policy makes of inputs, and why; nothing runs.

They call what the API and the live path call, so the answer is the same.
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from services.escalate.nciss import SHIPPED_NCISS, load_nciss_policy
from services.escalate.policy import SHIPPED_SEVERITY, load_severity_policy
from services.escalate.preview import (
    InputError,
    nciss_from_mapping,
    priority_from_mapping,
    severity_from_mapping,
)
from services.escalate.priority import SHIPPED_PRIORITY, load_priority_policy
from shared.errors import UserError
from shared.yaml_lines import LineError, plain, read

__all__ = ["AssessError", "priority_of", "severity_of", "show"]


class AssessError(UserError):
    """The file cannot be taken; the message says where and why."""


def severity_of(path: Path, policy: Path | None) -> dict[str, Any]:
    """Return the severity of the inputs in the file at *path*; AssessError where one is wrong."""
    inputs = _inputs(path)
    try:
        return severity_from_mapping(inputs, load_severity_policy(policy or SHIPPED_SEVERITY))
    except InputError as error:
        raise AssessError(f"{path}: {error}") from error


def priority_of(path: Path, policy: Path | None, nciss: Path | None) -> dict[str, Any]:
    """Return the priority of the factors in *path*, and the NCISS score if it has a table of it.

    AssessError where one is wrong.
    """
    inputs = _inputs(path)
    extra = inputs.pop("nciss", None)
    try:
        found = priority_from_mapping(inputs, load_priority_policy(policy or SHIPPED_PRIORITY))
        if extra is not None:
            found["nciss"] = nciss_from_mapping(
                _table(extra, f"{path}: nciss"), load_nciss_policy(nciss or SHIPPED_NCISS)
            )
    except InputError as error:
        raise AssessError(f"{path}: {error}") from error
    return found


def show(found: dict[str, Any], console: Console) -> None:
    """Print a result with every point of it explained."""
    _line(console, f"{found.get('level') or found['priority']}  {found['points']} points")
    _reasons(console, found)
    if "reason" in found:
        _line(console, f"  {found['reason']}")
    if extra := found.get("nciss"):
        _line(console, f"NCISS {extra['score']:.2f}  {extra['level']}")
        _reasons(console, extra)


def _reasons(console: Console, found: dict[str, Any]) -> None:
    for one in found["contributions"]:
        _line(console, f"  {one['points']:>5}  {one['reason']}")
    if floors := found.get("floors_applied"):
        _line(console, f"  floors: {', '.join(floors)}")
    if unknown := found.get("unknown_inputs"):
        _line(console, f"  unknown: {', '.join(unknown)}")
    _line(console, f"  policy {found['policy']} {found['version']} ({found['digest'][:12]})")


def _line(console: Console, text: str) -> None:
    console.print(text)


def _inputs(path: Path) -> dict[str, Any]:
    try:
        given = plain(read(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise AssessError(f"{path}: cannot be read: {error}") from error
    except LineError as error:
        raise AssessError(f"{path}, line {error.line}: {error.why}") from error
    return _table(given, str(path))


def _table(given: object, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise AssessError(f"{where}: must be a table of inputs")
    return given
