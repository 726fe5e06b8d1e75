"""Log sources that fall silent: their team is paged, and the silence counts as a detection (R12a).

Whoever breaks in may stop the log first. So the silence of a host joins what else is detected of
it; alone it is too light for a proposal.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.directory import Directory
from services.escalate.once import once
from services.escalate.pages import end_chains, order_page
from services.escalate.proposal import Policies
from services.escalate.sighting import printable
from services.escalate.triage import triage
from shared.clock import Clock, rfc3339
from shared.consume import Delivery
from shared.contracts.detect import DetectionRaisedV1, Entity, Level
from shared.contracts.ingest import LogSourceResumedV1, LogSourceSilentV1
from shared.ids import derived_id

__all__ = ["SOURCES_CONSUMER", "SourcesHandler", "as_detection"]

SOURCES_CONSUMER = "escalate-sources"
RULE = "source:silent"
# Where a whole site goes dark, the sixth page tells its team nothing that the fifth did not.
MOST_PAGES, SPAN = 5, timedelta(hours=1)

log = structlog.get_logger()
_silent = Counter("tocsin_escalate_silent_sources_total", "Log sources that fell silent", ["paged"])

_LATELY = text(
    "SELECT count(*) FROM page_chains WHERE team = :team AND asks = 'source'"
    " AND started_at > :since"
)


def as_detection(told: LogSourceSilentV1, directory: Directory) -> DetectionRaisedV1:
    """Return the silence as one more thing detected of its host, or of the source itself."""
    tier = directory.tier([told.service]) if told.service else None
    level: Level = "medium" if tier in ("tier0", "tier1") else "low"
    since = told.silent_since
    return DetectionRaisedV1(
        event_id=told.event_id,
        occurred_at=told.occurred_at,
        detection_id=derived_id("silence-as-detection", told.source_id, rfc3339(since)),
        rule_id=RULE,
        rule_version="0" * 64,
        title=f"Log source {printable(told.source_id, 120)} fell silent",
        level=level,
        risk_score=50 if level == "medium" else 25,
        entities=[Entity(type="host", value=told.server)] if told.server else [],
        first_seen=min(since, told.occurred_at),
        last_seen=told.occurred_at,
        source_id=told.source_id,
        tenant=told.tenant,
        region=told.region,
        datacenter=told.datacenter,
        service=told.service,
        server=told.server,
    )


class SourcesHandler:
    """Handles the messages of SOURCES, each once."""

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        channel: str,
        clock: Clock,
        on_outgoing: Callable[[], None],
    ) -> None:
        self._engine, self._policies, self._channel = engine, policies, channel
        self._clock, self._on_outgoing = clock, on_outgoing

    async def __call__(self, delivery: Delivery) -> None:
        """Page for a source that fell silent; let go of those who were asked when it is back."""
        told: LogSourceSilentV1 | LogSourceResumedV1
        match delivery.subject:
            case LogSourceSilentV1.SUBJECT:
                told = LogSourceSilentV1.from_json(delivery.data)
            case LogSourceResumedV1.SUBJECT:
                told = LogSourceResumedV1.from_json(delivery.data)
            case _:
                return
        async with once(self._engine, SOURCES_CONSUMER, told) as connection:
            if connection is None:
                return
            if isinstance(told, LogSourceSilentV1):
                await self._fell_silent(connection, told)
            else:
                await end_chains(connection, _about(told), "source resumed", self._clock())
        self._on_outgoing()

    async def _fell_silent(self, connection: AsyncConnection, told: LogSourceSilentV1) -> None:
        now, policies = self._clock(), self._policies()
        detection = as_detection(told, policies.directory)
        found = {detection.detection_id: (detection, detection.model_dump_json().encode())}
        await triage(connection, found, policies, self._channel, now)
        (team, *_) = policies.directory.teams_of([told.service] if told.service else [])
        lately = await connection.scalar(_LATELY, {"team": team, "since": now - SPAN})
        paged = lately < MOST_PAGES
        _silent.labels(str(paged).lower()).inc()
        if not paged:
            log.warning("source silent, not paged: too many", source=told.source_id, team=team)
            return
        heard = f"since {rfc3339(told.last_received_at)}" if told.last_received_at else "ever"
        of = f" of service {told.service}" if told.service else ""
        reason = (
            f"log source {told.source_id} ({told.kind}){of} has sent nothing {heard},"
            f" longer than {told.max_silence_seconds} s: say why, or restore it (R12a)"
        )
        if lately == MOST_PAGES - 1:
            reason += "; more that fall silent within the hour are not paged"
        await order_page(
            connection, told.event_id, _about(told), team, self._channel, reason, now, asks="source"
        )


def _about(told: LogSourceSilentV1 | LogSourceResumedV1) -> UUID:
    """Return what the pages of one silence go by: there is no incident yet."""
    return derived_id("silent-source", told.source_id, rfc3339(told.silent_since))
