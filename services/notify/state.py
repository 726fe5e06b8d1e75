"""What notify's handlers find on ``request.state``, and who may read."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from services.notify.inventory_keeper import InventoryKeeper
from services.notify.settings import Settings
from shared.auth import Role
from shared.clock import Clock
from shared.http import ServiceState

__all__ = ["READERS", "State"]

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
    clock: Clock
    wake: Callable[[], None]
