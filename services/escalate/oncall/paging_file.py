"""The escalation policies of paging, read from a file: what could never page is refused."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from services.escalate.file_spots import Spot, read_spot, read_text
from services.escalate.oncall.steps import PagingPolicy, Step

__all__ = ["SHIPPED_PAGING", "TARGETS", "load_paging", "parse_paging"]

SHIPPED_PAGING = Path(__file__).with_name("paging.yml")
TARGETS = ("primary", "secondary", "lead", "team", "duty_manager", "executive_incident_manager")
LEVELS = ("SEV0", "SEV1", "SEV2", "SEV3", "SEV4", "default", "due_soon", "overdue")
MOST_MINUTES = 7 * 24 * 60
MOST_REPEAT = 10
MOST_STEPS = 20


def load_paging(path: Path = SHIPPED_PAGING) -> Mapping[str, PagingPolicy]:
    """Return policy by severity; FileError names the line that is wrong and why."""
    return parse_paging(read_text(path), path.name)


def parse_paging(text: str, source: str = "paging") -> Mapping[str, PagingPolicy]:
    """Return policy by severity; FileError names the line that is wrong and why.

    Refused besides what cannot be read: a severity with two policies, a step that is not later
    than the one before (it would hide it), and one that only pages who that one has paged.
    """
    top = read_spot(text, source).table(("policies",))
    found: dict[str, PagingPolicy] = {}
    for name, spot in top["policies"].entries().items():
        parts = spot.table(("for", "steps"), ("repeat", "pause", "fallback"))
        policy = PagingPolicy(
            name=name,
            steps=_steps(parts["steps"]),
            repeat=parts["repeat"].whole(MOST_REPEAT) if "repeat" in parts else 0,
            pause=_minutes(parts["pause"], least=1) if "pause" in parts else timedelta(minutes=15),
            fallback=_targets(parts["fallback"]) if "fallback" in parts else (),
        )
        for level in parts["for"].texts():
            which = level.one_of(LEVELS)
            if which in found:
                raise level.refusal(f"{which} has the policy {found[which].name} already")
            found[which] = policy
    if "default" not in found:
        raise top["policies"].refusal("none is for default, which serves what has no severity yet")
    return MappingProxyType(found)


def _steps(spot: Spot) -> tuple[Step, ...]:
    steps: list[Step] = []
    for entry in spot.items():
        parts = entry.table(("after", "page"))
        step = Step(_minutes(parts["after"]), _targets(parts["page"]))
        if steps and step.after <= steps[-1].after:
            raise entry.refusal("is not later than the step before, so it is never waited for")
        if steps and set(step.targets) <= set(steps[-1].targets):
            raise entry.refusal("pages nobody whom the step before has not paged; use repeat")
        steps.append(step)
    if not 0 < len(steps) <= MOST_STEPS:
        raise spot.refusal(f"must hold 1 to {MOST_STEPS} steps")
    if steps[0].after:
        raise spot.refusal("the first step must be after 0 minutes, or nobody is paged till then")
    return tuple(steps)


def _targets(spot: Spot) -> tuple[str, ...]:
    found: list[str] = []
    for entry in spot.texts():
        target = entry.text()
        if target not in TARGETS and not target.startswith(("person:", "team:")):
            raise entry.refusal(f"{target!r} is none of {', '.join(TARGETS)}, person:… or team:…")
        if target in found:
            raise entry.refusal(f"{target} stands twice")
        found.append(target)
    if not found:
        raise spot.refusal("names nobody")
    return tuple(found)


def _minutes(spot: Spot, least: int = 0) -> timedelta:
    minutes = spot.whole(MOST_MINUTES)
    if minutes < least:
        raise spot.refusal(f"must be at least {least}")
    return timedelta(minutes=minutes)
