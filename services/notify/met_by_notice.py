"""What is owed to tenants is met by the notices that reach them, and owed again if they come back.

Reached is who was sent all that is to be sent, by at least one channel to at least one contact. A
mail that comes back, from all to whom it went, reached nobody: what it met runs again, unless
another notice that says as much was taken. Both facts stay.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.obligations.lifecycle import OPEN, Kind, Stage, Step
from services.notify.obligations.steps import Kept, add, owed_to
from shared.clock import rfc3339
from shared.contracts.base import Contract

__all__ = ["meet", "owe_again"]

# Of each tenant: whether something is still to be sent, and what the notices say that were taken.
_REACHED = text(
    """
    SELECT tenant, bool_or(state IN ('pending', 'sending')) AS open,
        array_agg(coalesce(covers, 'null')) FILTER (WHERE state = 'sent' AND kind = 'notice')
            AS said
    FROM notifications WHERE incident_id = :incident AND tenant = ANY(:tenants) GROUP BY tenant
    """
)


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far a tenant is told."""

    under_way: bool
    said: tuple[frozenset[str] | None, ...]
    """Of each notice that was taken what it says; None: not recorded, so all counts as said."""

    def satisfies(self, kept: Kept) -> bool:
        if None in self.said:
            return True
        told = {name for one in self.said for name in one or ()}
        return bool(self.said) and told >= set(kept.obligation.content)


async def meet(
    connection: AsyncConnection, incident_id: UUID, references: Mapping[str, str], at: datetime
) -> list[Contract]:
    """Mark what is owed to tenants as met, once the last message to each is out.

    *references*: by tenant, the message that was the last. What asks for more than the notices say
    stays open. The caller holds the incident's lock.
    """
    reach = await _reach(connection, incident_id, references)
    done = [tenant for tenant, one in reach.items() if not one.under_way]
    if not done:
        return []
    taken = []
    for kept in await owed_to(connection, incident_id, done, OPEN):
        tenant = kept.obligation.tenant or ""
        if reach[tenant].satisfies(kept):
            detail = {"submitted_at": rfc3339(at), "reference": references[tenant]}
            taken.append((kept, Step(kind=Kind.SUBMIT, at=at, by="system", detail=detail)))
    return await add(connection, taken)


async def owe_again(
    connection: AsyncConnection, incident_id: UUID, tenant: str, at: datetime
) -> list[Contract]:
    """Let what counted as met run again if no notice that meets it reached *tenant* after all.

    What a person submitted, or the tenant acknowledged, stays. The caller holds the incident's
    lock.
    """
    reach = (await _reach(connection, incident_id, [tenant]))[tenant]
    taken = []
    for kept in await owed_to(connection, incident_id, [tenant], [Stage.SUBMITTED]):
        if _by_notice(kept) and not reach.satisfies(kept):
            reason = "the notice came back and reached no contact of the tenant"
            step = Step(kind=Kind.REOPEN, at=at, by="system", detail={"reason": reason})
            taken.append((kept, step))
    return await add(connection, taken)


def _by_notice(kept: Kept) -> bool:
    submitted = [step for step in kept.steps if step.kind is Kind.SUBMIT]
    return submitted[-1].by == "system"


async def _reach(
    connection: AsyncConnection, incident_id: UUID, tenants: Iterable[str]
) -> dict[str, _Reach]:
    values = {"incident": incident_id, "tenants": list(tenants)}
    rows = (await connection.execute(_REACHED, values)).all()
    return {row.tenant: _Reach(row.open, tuple(map(_names, row.said or ()))) for row in rows}


def _names(covers: str) -> frozenset[str] | None:
    said: Any = json.loads(covers)
    return None if said is None else frozenset(said)
