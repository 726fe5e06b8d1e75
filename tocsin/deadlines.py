"""`tocsin deadlines`: what would be owed by when, without a running platform."""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from services.notify.obligations.conditions import Condition
from services.notify.obligations.identify import Holder, Obligation, OperatorProfile
from services.notify.obligations.preview import PreviewBody, preview
from services.notify.obligations.record import obligation_json
from services.notify.obligations.regime_file import load_regimes
from shared.errors import UserError
from shared.yaml_lines import LineError, plain, read

__all__ = ["DeadlinesError", "as_json", "compute", "show"]


class DeadlinesError(UserError):
    """The file cannot be taken; the message says where and why."""


def compute(path: Path, regimes: list[Path]) -> list[Obligation]:
    """Return what the facts in the file at *path* would lead to, the earliest first.

    DeadlinesError for a file that cannot be read or says something unknown.
    """
    try:
        given = plain(read(path.read_text("utf-8")))
        body = PreviewBody.model_validate(given)
    except (OSError, UnicodeDecodeError) as error:
        raise DeadlinesError(f"{path}: cannot be read: {error}") from error
    except LineError as error:
        raise DeadlinesError(f"{path}:{error.line}: {error.why}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DeadlinesError(f"{path}: {where}: {first['msg']}") from error
    return list(preview(body, OperatorProfile(), load_regimes(regimes, {})))


def show(
    console: Console, found: list[Obligation], now: datetime, *, everything: bool, explain: bool
) -> None:
    """Print what is owed; *everything* includes what is not required, *explain* the arithmetic."""
    shown = [o for o in found if everything or o.state != "not_required"]
    names = [f"{one.regime}/{one.phase} → {_whom(one)}" for one in shown]
    width = max(map(len, names), default=0)
    for one, name in zip(shown, names, strict=True):
        due = f"{one.due_at:%Y-%m-%d %H:%M:%S}Z"
        line = f"{due}  {_left(one, now):>20}  {name:<{width}}  {_state(one)}"
        console.print(line)
        if explain:
            for step in (*one.basis.split("; "), *map(_judged, one.trigger)):
                console.print(f"    {step}", style="dim")
    if not shown:
        console.print("nothing is owed")
    if hidden := len(found) - len(shown):
        console.print(f"{hidden} not required (--all shows them, --explain says why)", style="dim")


def as_json(found: list[Obligation]) -> list[dict[str, Any]]:
    """Return the obligations as the API shows them."""
    return [obligation_json(one) for one in found]


def _left(one: Obligation, now: datetime) -> str:
    seconds = int((one.due_at - now).total_seconds())
    words = f"{abs(seconds) // 86400} d {abs(seconds) % 86400 // 3600:02} h"
    return words if seconds >= 0 else f"overdue {words}"


def _whom(one: Obligation) -> str:
    whom = one.recipient if one.tenant is None else f"{one.recipient} {one.tenant}"
    return f"{whom} (the customer's own duty)" if one.holder is Holder.CUSTOMER else whom


def _state(one: Obligation) -> str:
    marks = [one.state.value]
    if one.internal_target:
        marks.append("own target, not law")
    if one.provisional:
        marks.append("provisional")
    return ", ".join(marks)


def _judged(condition: Condition) -> str:
    words = {True: "yes", False: "no", None: "not known"}[condition.holds]
    return f"{condition.what}: {words} ({condition.because})"
