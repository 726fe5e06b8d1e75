"""Groups and the standing of entities as JSON and back."""

from datetime import datetime
from typing import Any

import orjson

from services.escalate.grouping import Group
from services.escalate.risk import Tally
from services.escalate.sighting import Facts
from services.escalate.standing import Heat, Standing

__all__ = ["from_row", "standing_from_row", "to_heats", "to_state"]


_FACTS = tuple(Facts.__dataclass_fields__)
_instant = datetime.fromisoformat


def to_state(group: Group) -> str:
    """Return what has no column of its own."""
    return orjson.dumps(
        {
            "kind": group.kind,
            "value": group.value,
            "tenant": group.tenant,
            "tallies": {rule: [*tally] for rule, tally in group.tallies.items()},
            "facts": {name: sorted(getattr(group.facts, name)) for name in _FACTS},
            "stages": group.stages,
            "members": group.members,
        }
    ).decode()


def from_row(row: Any) -> Group:
    """Return the group that *row* of ``detection_groups`` holds."""
    state = orjson.loads(row.state)
    facts, stages = state["facts"], state.get("stages", {})  # groups of before 0003 have none
    return Group(
        id=row.id,
        key=row.key,
        kind=state["kind"],
        value=state["value"],
        tenant=state["tenant"],
        first=row.first_seen,
        last=row.last_seen,
        count=row.detections,
        tallies={rule: Tally(*tally) for rule, tally in state["tallies"].items()},
        facts=Facts(*(frozenset(facts[name]) for name in _FACTS)),
        stages={stage: (_instant(a), _instant(b)) for stage, (a, b) in stages.items()},
        members=state.get("members", 1),
        proposed=row.proposed_at is not None,
        snoozed_until=row.snoozed_until,
    )


def to_heats(standing: Standing) -> str:
    """Return what an entity's rules add."""
    return orjson.dumps({rule: [*heat] for rule, heat in standing.heats.items()}).decode()


def standing_from_row(row: Any) -> Standing:
    """Return the standing that *row* of ``entity_risk`` holds."""
    heats = {
        rule: Heat(title, top, total, _instant(at), times)
        for rule, (title, top, total, at, times) in orjson.loads(row.heats).items()
    }
    return Standing(row.kind, row.value, row.tenant, heats, row.armed)
