"""The form of an obligation, from what is kept of it and of its incident."""

from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import incidents
from services.notify.forms.form import Subject, form, suggested
from services.notify.known import known_of
from services.notify.obligations.regimes import Regimes
from services.notify.obligations.steps import Kept
from services.notify.settings import Settings
from services.notify.wording.facts import Filled
from services.notify.wording.keeper import WordingKeeper

__all__ = ["build", "suggestions"]


class Having(Protocol):
    """What a service's state has."""

    settings: Settings
    regimes: Regimes
    wording: WordingKeeper


async def build(connection: AsyncConnection, kept: Kept, state: Having) -> dict[str, Any]:
    """Return the form of *kept* as it stands; the same for the same facts."""
    incident = await incidents.find(connection, kept.incident_id)
    if incident is None:
        raise LookupError(f"incident {kept.incident_id} of an obligation is not known")
    subject = Subject(
        obligation_id=str(kept.id),
        incident_id=str(kept.incident_id),
        operator_name=state.settings.operator_name,
        known=await known_of(connection, incident, state.settings),
    )
    rows = [row for row in state.regimes.rows if row.id == kept.obligation.regime]
    exact = [row for row in rows if row.version == kept.obligation.regime_version]
    regime = next(iter(exact or rows), None)
    return form(subject, kept.obligation, kept.standing, regime, state.wording.current)


async def suggestions(connection: AsyncConnection, kept: Kept, state: Having) -> dict[str, Filled]:
    """Return what the facts can say of what *kept* asks for."""
    incident = await incidents.find(connection, kept.incident_id)
    if incident is None:
        return {}
    known = await known_of(connection, incident, state.settings)
    return suggested(kept.obligation.content, known, state.wording.current)
