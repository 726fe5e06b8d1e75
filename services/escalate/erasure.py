"""What escalate copied of an incident is erased when cases says so (I10, docs/adr/0023)."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import orjson
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.cases import ERASED, IncidentErasedV1
from shared.contracts.detect import DetectionRaisedV1

__all__ = ["erase", "without"]

PERSONS = frozenset({"user", "account"})
"""Types of entities that are, or may be, a person."""

_GROUPS = text(
    "SELECT id, key, state, proposal FROM detection_groups WHERE incident_id = :incident"
    " OR merged_into IN (SELECT id FROM detection_groups WHERE incident_id = :incident)"
    " ORDER BY id FOR UPDATE"
)
_BODIES = text(
    "SELECT body FROM detections WHERE group_id = ANY(CAST(:ids AS uuid[])) AND body IS NOT NULL"
)
# The key says which entity it was to whoever tries names out on it; nothing joins any more.
_GROUP = text(
    "UPDATE detection_groups SET key = id, state = :state, proposal = :proposal,"
    " closed_at = coalesce(closed_at, :now),"
    " snooze_reason = CASE WHEN snooze_reason IS NULL THEN NULL ELSE :erased END WHERE id = :id"
)
_NO_BODIES = text(
    "UPDATE detections SET body = NULL WHERE group_id = ANY(CAST(:ids AS uuid[]))"
    " AND body IS NOT NULL"
)
_FORGET_RISK = text("DELETE FROM entity_risk WHERE key = ANY(CAST(:keys AS uuid[]))")
_OVER = text(
    "UPDATE triage_suppressions SET value = :erased, reason = :erased"
    " WHERE kind = ANY(CAST(:kinds AS text[])) AND value = ANY(CAST(:names AS text[]))"
    " AND (ended_at IS NOT NULL OR expires_at <= :now)"
)
_INPUTS = text("UPDATE incidents SET inputs = '{}' WHERE id = :incident")
# Free text by table: column, and the column that says of which incident the row is.
_TEXTS = (
    ("incidents", "title", "id"),
    ("page_chains", "reason", "incident_id"),
    ("pages", "reason", "incident_id"),
    ("pages", "last_error", "incident_id"),
    ("engagements", "reason", "incident_id"),
)
_REPORTER = text("SELECT opened_by FROM support_cases WHERE incident_id = :incident")
# The log of a case is append-only for this role: it may have it blotted out, and not rewrite it.
_BLOT_CASE = text(
    "SELECT erase_support_case(CAST(:incident AS uuid), CAST(:whole AS boolean),"
    " CAST(:patterns AS text[]))"
)

_erasures = Counter("tocsin_escalate_erasures_total", "Incidents erased here", ["scope"])


async def erase(connection: AsyncConnection, event: IncidentErasedV1, now: datetime) -> None:
    """Erase what was copied of an incident that has ended; once more changes nothing.

    Of a whole incident every free text and every word of its logs goes. Of a person, whom the
    message does not name, all that its logs say of persons goes, and every text that names one of
    them. That somebody was paged, by whom and when, stays.
    """
    whole = event.scope == "incident"
    incident = {"incident": event.incident_id}
    groups = (await connection.execute(_GROUPS, incident)).all()
    ids = [group.id for group in groups]
    bodies = (await connection.execute(_BODIES, {"ids": ids})).scalars().all()
    reporter = await connection.scalar(_REPORTER, incident)
    names = _names((orjson.loads(group.state) for group in groups), bodies)
    names |= {reporter} - {None, ERASED}
    for group in groups:
        await connection.execute(
            _GROUP,
            {
                "id": group.id,
                "state": orjson.dumps(_state(orjson.loads(group.state), whole)).decode(),
                "proposal": group.proposal and _proposal(group.proposal, whole, names),
                "now": now,
                "erased": ERASED,
            },
        )
    await connection.execute(_NO_BODIES, {"ids": ids})
    keys = [g.key for g in groups if orjson.loads(g.state)["kind"] in PERSONS]
    await connection.execute(_FORGET_RISK, {"keys": keys})
    over = {"kinds": list(PERSONS), "names": list(names), "now": now, "erased": ERASED}
    await connection.execute(_OVER, over)
    if whole:
        await connection.execute(_INPUTS, incident)
    texts = {"whole": whole, "patterns": [_pattern(name) for name in names], "erased": ERASED}
    for table, column, of in _TEXTS:
        statement = text(
            f"UPDATE {table} SET {column} = :erased WHERE {of} = :incident"  # noqa: S608 - ours
            f" AND {column} <> '' AND (CAST(:whole AS boolean)"
            f" OR lower({column}) LIKE ANY(CAST(:patterns AS text[])))"
        )
        await connection.execute(statement, {**incident, **texts})
    patterns = texts["patterns"]
    await connection.execute(_BLOT_CASE, {**incident, "whole": whole, "patterns": patterns})
    _erasures.labels(event.scope).inc()


def _names(states: Iterable[dict[str, Any]], bodies: Iterable[str]) -> set[str]:
    """Return the persons whom groups and kept detections name."""
    found = {state["value"] for state in states if state["kind"] in PERSONS}
    for body in bodies:
        detection = DetectionRaisedV1.from_json(body.encode())
        found |= {entity.value for entity in detection.entities if entity.type in PERSONS}
    return {name for name in found if name.strip() and name != ERASED}


def _state(state: dict[str, Any], whole: bool) -> dict[str, Any]:
    """Return the state of a group without the entity that it is about, and without hosts."""
    if not whole and state["kind"] not in PERSONS:
        return state
    facts = {**state["facts"], "servers": []} if whole else state["facts"]
    return {**state, "value": ERASED, "facts": facts}


def _proposal(told: str, whole: bool, names: Collection[str]) -> str:
    """Return a proposal as it was published, without what is erased."""
    proposal = orjson.loads(told)
    grouping, entity = proposal["grouping"], proposal["grouping"]["entity"]
    if whole or entity["type"] in PERSONS:
        grouping["entity"] = {**entity, "value": ERASED}
    for place, name in ((proposal, "title"), (grouping, "explanation")):
        place[name] = ERASED if whole else without(place[name], names)
    return orjson.dumps(proposal).decode()


def without(words: str, names: Collection[str]) -> str:
    """Return *words*, or "erased" if they name one of *names*."""
    lower = words.lower()
    return ERASED if any(name.lower() in lower for name in names) else words


def _pattern(name: str) -> str:
    """Return what LIKE takes for *name* anywhere in a text."""
    plain = name.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{plain}%"
