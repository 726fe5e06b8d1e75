"""What the case-management policy demands of an incident and what is missing of it, by version.

For that the incident's whole log is opened and folded, which takes tens of milliseconds for a
thousand events; who looks again at the same version does not wait for it again. Nothing personal
is remembered.
"""

from collections import OrderedDict
from uuid import UUID

from services.cases.case_policy import completeness
from services.cases.domain.incident import fold
from services.cases.domain.values import Policy
from services.cases.store import EventStore
from services.cases.views import Document

__all__ = ["Phases"]

REMEMBERED = 2_000


class Phases:
    """Completeness of incidents under one policy."""

    def __init__(self, policy: Policy, store: EventStore) -> None:
        self._policy, self._store = policy, store
        self._known: OrderedDict[tuple[UUID, int], Document] = OrderedDict()

    async def of(self, incident_id: UUID, version: int) -> Document:
        """Return the completeness of an incident that is known to have reached *version*."""
        known = self._known.get((incident_id, version))
        if known is not None:
            return known
        history = await self._store.read(incident_id)
        found = completeness(self._policy, fold(history.events))
        self._known[incident_id, history.version] = found
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found
