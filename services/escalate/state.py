"""What escalate's handlers find on ``request.state``, and who may ask (§7)."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.doors.register import DoorBook
from services.escalate.oncall.api_pagerduty import PagerDutyHook
from services.escalate.oncall.api_slack import SlackApp
from services.escalate.oncall.links import Links
from services.escalate.policy_versions import PolicyBook
from services.escalate.support.desk import Desk
from shared.auth import Role
from shared.clock import Clock
from shared.http import ServiceState

__all__ = ["ASSESSORS", "READERS", "State"]

# Who triages, escalates, decides on or audits incidents; customers see their own cases elsewhere.
READERS = (
    Role.SERVICE_TEAM,
    Role.SECURITY_RESPONSE,
    Role.INCIDENT_COMMUNICATIONS,
    Role.EXECUTIVE_INCIDENT_MANAGER,
    Role.DUTY_MANAGER,
    Role.DETECTION_ENGINEER,
    Role.AUDITOR,
)
# The policies and what they compute hold no case content.
ASSESSORS = (
    *READERS, Role.LEGAL, Role.SUBJECT_MATTER_EXPERT, Role.POLICY_ADMIN, Role.OPERATOR,
)  # fmt: skip


class State(ServiceState):
    """Built in `app.create_app`."""

    engine: AsyncEngine
    book: PolicyBook
    desk: Desk
    doors: DoorBook
    clock: Clock
    links: Links
    slack: SlackApp | None
    pagerduty: PagerDutyHook | None
    wake: Callable[[], None]
    """To be called after a commit that ordered pages or messages."""
