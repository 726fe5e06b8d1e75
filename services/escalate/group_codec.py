"""A group as JSON and back."""

from typing import Any
from uuid import UUID

import orjson

from services.escalate.grouping import Group
from services.escalate.risk import Tally
from services.escalate.sighting import Facts

__all__ = ["from_row", "to_state"]


def to_state(group: Group) -> str:
    """Return what has no column of its own."""
    return orjson.dumps(
        {
            "kind": group.kind,
            "value": group.value,
            "tenant": group.tenant,
            "tallies": {
                rule: [t.title, t.count, t.top, t.total] for rule, t in group.tallies.items()
            },
            "facts": {
                name: sorted(getattr(group.facts, name)) for name in Facts.__dataclass_fields__
            },
        }
    ).decode()


def from_row(row: Any) -> Group:
    """Return the group that *row* of ``detection_groups`` holds."""
    state = orjson.loads(row.state)
    return Group(
        id=UUID(str(row.id)),
        key=UUID(str(row.key)),
        kind=state["kind"],
        value=state["value"],
        tenant=state["tenant"],
        first=row.first_seen,
        last=row.last_seen,
        count=row.detections,
        tallies={rule: Tally(*tally) for rule, tally in state["tallies"].items()},
        facts=Facts(**{name: frozenset(values) for name, values in state["facts"].items()}),
        proposed=row.proposed_at is not None,
    )
