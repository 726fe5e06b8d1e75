"""Erasures: a key is destroyed, the log says so, and the views are made anew without its text.

The destruction and its record commit first, together. What follows is idempotent and is finished
by `once`, whoever died in between: until then views may still show what the log no longer can.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.domain.errors import NotAllowed
from services.cases.domain.events import PersonalDataErased
from services.cases.domain.incident import fold
from services.cases.domain.personal import person_of
from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import ErasureScope, Role
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.view import item_of
from services.cases.ledger.checkpoints import driver_of
from services.cases.legal_holds import holds_on
from services.cases.need_to_know import Sight
from services.cases.projector import Projector
from services.cases.sealing.conditions import Touched, standing_against
from services.cases.sealing.remake import remake
from services.cases.sealing.vault import Vault
from services.cases.store import EventStore, OverloadedError, VersionConflict
from shared.ids import derived_id, uuid7

__all__ = ["Basis", "Erased", "Eraser", "Nothing"]

ATTEMPTS = 8

_KEY = (
    "SELECT k.key_id, k.destroyed_at IS NULL AS alive, e.erasure_id, e.at, e.incident_id"
    " FROM data_keys k LEFT JOIN erasures e USING (key_id)"
    " WHERE k.scope = $1 AND k.subject = $2 ORDER BY k.destroyed_at DESC NULLS FIRST LIMIT 1"
)
_USES = "SELECT stream_id FROM key_uses WHERE key_id = $1 ORDER BY stream_id"
_ERASE = "SELECT erase_key_at($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_END = "SELECT coalesce(max(position), 0) FROM events"
_UNDONE = (
    "SELECT * FROM erasures e WHERE NOT EXISTS"
    " (SELECT FROM erasures_done d WHERE d.erasure_id = e.erasure_id) ORDER BY at LIMIT 20"
)
_ONE = "SELECT * FROM erasures WHERE erasure_id = $1"
_DONE = "INSERT INTO erasures_done (erasure_id) VALUES ($1) ON CONFLICT DO NOTHING"


class Basis(StrEnum):
    """Why something is erased: a vocabulary, so that the reason itself names nobody."""

    DATA_SUBJECT_REQUEST = "data_subject_request"
    RETENTION_ENDED = "retention_ended"
    COURT_ORDER = "court_order"
    RECORDED_BY_MISTAKE = "recorded_by_mistake"


class Nothing(Exception):  # noqa: N818 - what it is, not a malfunction
    """There is nothing sealed of that incident or person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """An erasure, and the incidents in which something was erased; ``already``: not just now."""

    erasure_id: UUID
    at: datetime
    incidents: Sequence[UUID]
    already: bool


class Eraser:
    """Destroys keys; `once` finishes what a process that died has left."""

    def __init__(
        self,
        engine: AsyncEngine,
        vault: Vault,
        store: EventStore,
        projector: Projector,
        sight: Sight,
        retention: timedelta,
        noticed: Callable[[], None],
    ) -> None:
        self._engine, self._vault, self._store = engine, vault, store
        self._projector, self._sight = projector, sight
        self._items = EvidenceQueries(engine)
        self._retention, self._noticed = retention, noticed

    async def erase(
        self, subject: UUID | str, actor: Actor, now: datetime, basis: Basis, reference: str
    ) -> Erased:
        """Erase an incident (its id) or a person (a name or address).

        NotAllowed with everything that stands against it, Nothing when nothing is sealed of it.
        """
        if isinstance(subject, UUID):
            scope, stored = ErasureScope.INCIDENT, subject.bytes
        else:
            scope, stored = ErasureScope.PERSON, await self._vault.person(person_of(subject))
        async with driver_of(self._engine) as driver:
            key = await driver.fetchrow(_KEY, scope.value, stored)
        if key is None:
            raise Nothing
        incident_id = subject if isinstance(subject, UUID) else None
        if not key["alive"]:
            incidents = await self._touched(key["key_id"], incident_id)
            await self.once()
            return Erased(
                erasure_id=key["erasure_id"], at=key["at"], incidents=incidents, already=True
            )
        erasure_id = uuid7()
        for _ in range(ATTEMPTS):
            async with driver_of(self._engine) as driver:
                position = await driver.fetchval(_END)
            incidents = await self._touched(key["key_id"], incident_id)
            while await self._projector.once():
                pass  # which evidence there is, is asked of the views
            facts = await self._facts(incidents)
            if unmet := standing_against([touched for touched, _ in facts], now, self._retention):
                raise NotAllowed(unmet)
            looked_at = {stream for _, streams in facts for stream in streams}
            async with driver_of(self._engine) as driver:
                outcome = await driver.fetchval(
                    _ERASE, erasure_id, key["key_id"], scope.value, incident_id, actor.id,
                    basis.value, reference, now, position, sorted(looked_at),
                )  # fmt: skip
            if outcome != "changed":  # else somebody held it, reopened it, … since it was looked at
                break
        else:
            raise OverloadedError("what is to be erased changes faster than it is looked at")
        if outcome == "gone":  # somebody else was faster
            return await self.erase(subject, actor, now, basis, reference)
        self._vault.destroyed()
        async with driver_of(self._engine) as driver:
            await self._finish(await driver.fetchrow(_ONE, erasure_id))
        return Erased(erasure_id=erasure_id, at=now, incidents=incidents, already=False)

    async def once(self) -> int:
        """Finish what was begun; return how many."""
        async with driver_of(self._engine) as driver:
            rows = await driver.fetch(_UNDONE)
        if rows:
            self._vault.destroyed()
        for row in rows:
            await self._finish(row)
        return len(rows)

    async def _touched(self, key_id: UUID, incident_id: UUID | None) -> list[UUID]:
        """Return the incidents that have something sealed under a key."""
        if incident_id is not None:
            return [incident_id]
        async with driver_of(self._engine) as driver:
            streams = [row["stream_id"] for row in await driver.fetch(_USES, key_id)]
        homes = await self._sight.incidents_of(streams)
        return sorted({homes.get(stream, stream) for stream in streams})

    async def _facts(self, incidents: Collection[UUID]) -> list[tuple[Touched, list[UUID]]]:
        """Return what may stand against it, each with the streams in which that is written."""
        found = []
        for incident_id in incidents:
            history = await self._store.read(incident_id)
            if not history.version:
                continue
            incident = fold(history.events)
            rows = await self._items.of_incident(incident_id)
            touched = Touched(
                incident=incident,
                last=history.events[-1].at,
                holds=await holds_on(self._store, incident),
                items=[item_of(row) for row in rows],
            )
            others = [incident.merged_into] if incident.merged_into else []
            evidence = [UUID(row["evidence_id"]) for row in rows]
            found.append((touched, [incident_id, *others, *evidence]))
        return found

    async def _finish(self, row: Any) -> None:
        """Write the erasure into the log, then make the views anew; all of it again is nothing."""
        incidents = await self._touched(row["key_id"], row["incident_id"])
        for incident_id in incidents:
            await self._tell(incident_id, row)
        self._noticed()
        while await self._projector.once():
            pass
        async with driver_of(self._engine) as driver:
            others: set[UUID] = set()
            for incident_id in incidents:
                others |= await remake(driver, self._vault, incident_id)
            for other in others - set(incidents):
                await remake(driver, self._vault, other)
            await driver.execute(_DONE, row["erasure_id"])

    async def _tell(self, incident_id: UUID, row: Any) -> None:
        event = PersonalDataErased(
            actor=Actor(id=row["requested_by"], roles=(Role.LEGAL.value,)),
            at=row["at"],
            erasure_id=row["erasure_id"],
            scope=ErasureScope(row["scope"]),
            basis=row["basis"],
            reference=row["reference"],
        )
        command_id = derived_id("erasure", row["erasure_id"], incident_id)
        for attempt in range(1, ATTEMPTS + 1):
            history = await self._store.read(incident_id)
            if not history.version:
                return  # its key was made, and its first event never came
            try:
                await self._store.append(
                    incident_id,
                    [event],
                    expected=history.version,
                    command_id=command_id,
                    digest=str(row["erasure_id"]),
                )
            except VersionConflict:
                if attempt == ATTEMPTS:
                    raise
            else:
                return
