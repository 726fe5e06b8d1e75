"""What the queue can be narrowed by: each filter is a constant piece of SQL and its value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

__all__ = ["Filters"]

# A query is put together of these alone: what people send is only ever a bound value. Only what is
# asked for is in the query, so that the planner sees the condition that an index answers.
_CONDITIONS: Mapping[str, str] = {
    "states": "state = ANY(:states)",
    "severities": "severity = ANY(:severities)",
    "priorities": "priority = ANY(:priorities)",
    "source_kinds": "source_kind = ANY(:source_kinds)",
    "owning_teams": "owning_team = ANY(:owning_teams)",
    "services": "services && cast(:services AS text[])",
    "regions": "regions && cast(:regions AS text[])",
    "assigned": "(people <> '{}') = :assigned",
    "restricted": "restricted = :restricted",
    "due_by": "next_due <= :due_by",
    "people": "people && cast(:people AS text[])",
    "q": "search @@ websearch_to_tsquery('simple', :q)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Any value of each filter that is given, and all of the filters; ``q`` are words to find."""

    states: Sequence[str] | None = None
    severities: Sequence[str] | None = None
    priorities: Sequence[str] | None = None
    source_kinds: Sequence[str] | None = None
    owning_teams: Sequence[str] | None = None
    services: Sequence[str] | None = None
    regions: Sequence[str] | None = None
    people: Sequence[str] | None = None
    assigned: bool | None = None
    restricted: bool | None = None
    due_by: datetime | None = None
    q: str | None = None

    def given(self) -> dict[str, Any]:
        """Return the filters that narrow anything, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, Sequence) and name != "q" else value
            for name, value in values.items()
            if value not in (None, "", [], ())
        }

    def where(self) -> str:
        """Return the conditions as SQL; their values are bound under the names of `given`."""
        return "".join(f" AND {_CONDITIONS[name]}" for name in self.given())
