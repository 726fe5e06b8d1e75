"""What notify's handlers find on ``request.state``, and who may read."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify.inventory_keeper import InventoryKeeper
from services.notify.inventory_sync import InventorySync
from services.notify.obligations.book import ObligationBook
from services.notify.obligations.identify import OperatorProfile
from services.notify.obligations.regimes import Regimes
from services.notify.settings import Settings
from services.notify.wording.keeper import WordingKeeper
from shared.auth import Role
from shared.clock import Clock
from shared.http import ServiceState

__all__ = ["READERS", "State", "snapshot"]

# Who works an incident, decides on it or audits it (§7); customers read through their own portal.
READERS = (
    Role.SERVICE_TEAM,
    Role.SECURITY_RESPONSE,
    Role.INCIDENT_COMMUNICATIONS,
    Role.LEGAL,
    Role.EXECUTIVE_INCIDENT_MANAGER,
    Role.DUTY_MANAGER,
    Role.AUDITOR,
)


class State(ServiceState):
    """Built in `app.create_app`."""

    settings: Settings
    engine: AsyncEngine
    keeper: InventoryKeeper
    sync: InventorySync
    book: ObligationBook
    operator: OperatorProfile
    regimes: Regimes
    wording: WordingKeeper
    clock: Clock
    wake: Callable[[], None]


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Yield a connection whose queries all see one moment, so that no view contradicts itself."""
    async with engine.connect() as connection:
        yield await connection.execution_options(isolation_level="REPEATABLE READ")
