"""The time between two anchors over all incidents that one may see, read from the log itself.

So a measure is retroactive: a definition made today holds for every event ever recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.filters import Filters
from services.cases.measures import DIMENSIONS, Anchor, Pick
from services.cases.need_to_know import MEMBER, UP_TO_DATE
from services.cases.views import Document

__all__ = ["Asked", "Durations"]

MOST_GROUPS = 500

_JOINS = {
    "service": " LEFT JOIN LATERAL unnest(i.services) AS s(service) ON true",
    "region": " LEFT JOIN LATERAL unnest(i.regions) AS r(region) ON true",
    "attack_vector": (
        " LEFT JOIN (SELECT DISTINCT incident_id, attack_vector FROM incident_indicators) v"
        " ON v.incident_id = i.incident_id"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``since`` (inclusive) and ``until`` (exclusive) bound the instant that is measured from."""

    from_: Anchor
    from_pick: Pick
    to: Anchor
    to_pick: Pick
    by: Sequence[str]
    since: datetime | None
    until: datetime | None
    percentiles: Sequence[float]


def _instants(side: str, anchor: Anchor, pick: Pick, after: str = "") -> str:
    """Return SQL of incident and instant; *after* narrows the events that count.

    All names are ours: what was asked for is in the bound values :<side>_types, _fact, _clock.
    """
    if anchor.clock is not None:
        # Its newest reading; without one, what the source said or the first confirmation.
        return f"""
            SELECT DISTINCT ON (e.stream_id) e.stream_id, (CASE e.type
                WHEN 'IncidentOpened.v1' THEN e.data::json->>'detected_at'
                WHEN 'IncidentConfirmed.v1' THEN e.data::json->>'aware_at'
                ELSE e.data::json->>'instant' END)::timestamptz AS at
            FROM events e WHERE e.type = ANY(:{side}_types)
              AND (e.type IN ('IncidentOpened.v1', 'IncidentConfirmed.v1')
                   OR e.data::json->>'clock' = :{side}_clock)
            ORDER BY e.stream_id, e.type IN ('IncidentOpened.v1', 'IncidentConfirmed.v1'),
                CASE WHEN e.type = 'IncidentConfirmed.v1' THEN e.version ELSE -e.version END"""  # noqa: S608 - constants only
    which = "min" if pick is Pick.FIRST else "max"
    fact = f" AND e.data::json->>'kind' = :{side}_fact" if anchor.fact else ""
    join = " JOIN f USING (stream_id)" if after else ""
    return f"""
        SELECT e.stream_id, {which}(e.occurred_at) AS at FROM events e{join}
        WHERE e.type = ANY(:{side}_types){fact}{after} GROUP BY e.stream_id"""  # noqa: S608 - constants only


class Durations:
    """Reads; never writes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def between(self, asked: Asked, filters: Filters, person: str) -> list[Document]:
        """Return a row a group: how many began, how many got there, and how long it took."""
        both_events = asked.from_.clock is None and asked.to.clock is None
        after = " AND e.occurred_at >= f.at" if both_events else ""
        columns = [f"d{n}" for n in range(len(asked.by))]
        named = "".join(f", {DIMENSIONS[b]} AS d{n}" for n, b in enumerate(asked.by))
        joins = "".join(_JOINS.get(b, "") for b in asked.by)
        # Only what is asked for: bounds that bound nothing would have the planner expect few rows.
        bounds = " AND f.at >= :since" if asked.since else ""
        bounds += " AND f.at < :until" if asked.until else ""
        query = f"""
            WITH f AS ({_instants("from", asked.from_, asked.from_pick)}),
            t AS ({_instants("to", asked.to, asked.to_pick, after)}),
            m AS (
                SELECT extract(epoch FROM t.at - f.at)::float8 AS took{named}
                FROM f JOIN incidents i ON i.incident_id = f.stream_id
                LEFT JOIN t ON t.stream_id = f.stream_id{joins}
                WHERE (NOT i.restricted OR {MEMBER}) AND {UP_TO_DATE}{bounds}{filters.where()}
            )
            SELECT {"".join(f"{column}, " for column in columns)}
                   count(*) AS began, count(took) FILTER (WHERE took >= 0) AS measured,
                   count(took) FILTER (WHERE took < 0) AS negative,
                   min(took) FILTER (WHERE took >= 0) AS least,
                   max(took) FILTER (WHERE took >= 0) AS most,
                   avg(took) FILTER (WHERE took >= 0) AS mean,
                   percentile_cont(cast(:cuts AS float8[])) WITHIN GROUP (ORDER BY took)
                       FILTER (WHERE took >= 0) AS percentiles
            FROM m {f"GROUP BY {', '.join(columns)}" if columns else ""}
            ORDER BY {", ".join(["began DESC", *columns])} LIMIT {MOST_GROUPS}
        """  # noqa: S608 - constants only
        values: dict[str, Any] = {
            **filters.given(),
            "person": person,
            **({"since": asked.since} if asked.since else {}),
            **({"until": asked.until} if asked.until else {}),
            "cuts": [cut / 100 for cut in asked.percentiles],
        }
        for side, anchor in (("from", asked.from_), ("to", asked.to)):
            values[f"{side}_types"] = list(anchor.types)
            if anchor.clock is not None:
                values[f"{side}_clock"] = anchor.clock
            if anchor.fact is not None:
                values[f"{side}_fact"] = anchor.fact
        async with self._engine.connect() as connection:
            rows = (await connection.execute(text(query), values)).all()
        return [_group(row, asked) for row in rows]


def _group(row: Any, asked: Asked) -> Document:
    cuts = row.percentiles or [None] * len(asked.percentiles)
    return {
        "group": {name: row[n] for n, name in enumerate(asked.by)},
        "began": row.began,
        "measured": row.measured,
        "not_yet": row.began - row.measured - row.negative,
        "negative": row.negative,
        "seconds": {
            "least": row.least,
            "most": row.most,
            "mean": row.mean,
            "percentiles": {f"p{p:g}": cut for p, cut in zip(asked.percentiles, cuts, strict=True)},
        },
    }
