"""What cases says to detect: lessons become proposals (R14b), verdicts become precision (R04a)."""

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.detect.lifecycle import domain
from services.detect.lifecycle.domain import RefusedChangeError
from services.detect.lifecycle.store import change_in
from services.detect.lifecycle.text import ProposalTextError, fit, read_proposal
from services.detect.lifecycle.verdicts import record_verdicts
from services.detect.rules.load import LoadReport
from services.detect.ruleset import Ruleset
from shared.clock import Clock
from shared.consume import Delivery, TransientError
from shared.contracts.cases import IncidentConfirmedV1, IncidentDismissedV1, LessonLearnedV1
from shared.db import is_transient
from shared.outbox import first_time

__all__ = ["CasesHandler"]

CONSUMER = "detect-cases"
log = structlog.get_logger()


class CasesHandler:
    """Handles CASES; what is of no concern here is passed over."""

    def __init__(self, engine: AsyncEngine, ruleset: Ruleset, clock: Clock) -> None:
        self._engine, self._ruleset, self._clock = engine, ruleset, clock

    async def __call__(self, delivery: Delivery) -> None:
        message: LessonLearnedV1 | IncidentConfirmedV1 | IncidentDismissedV1
        match delivery.subject:
            case LessonLearnedV1.SUBJECT:
                message = LessonLearnedV1.from_json(delivery.data)
            case IncidentConfirmedV1.SUBJECT:
                message = IncidentConfirmedV1.from_json(delivery.data)
            case IncidentDismissedV1.SUBJECT:
                message = IncidentDismissedV1.from_json(delivery.data)
            case _:
                return
        report = (await self._ruleset.in_force()).report
        try:
            async with self._engine.begin() as connection:
                if await first_time(connection, CONSUMER, message.event_id):
                    await self._take(connection, message, report)
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise

    async def _take(
        self,
        connection: AsyncConnection,
        message: LessonLearnedV1 | IncidentConfirmedV1 | IncidentDismissedV1,
        report: LoadReport,
    ) -> None:
        if isinstance(message, LessonLearnedV1):
            await self._propose(connection, message, report)
            return
        malicious = isinstance(message, IncidentConfirmedV1)
        await record_verdicts(
            connection, message.rule_ids, message.incident_id, malicious, message.occurred_at
        )

    async def _propose(
        self, connection: AsyncConnection, lesson: LessonLearnedV1, report: LoadReport
    ) -> None:
        """Make a proposal of a lesson's rule; one that cannot be read is logged, not lost: the
        lesson itself stays in its review."""
        if lesson.proposed_rule is None:
            return
        try:
            found = read_proposal(lesson.proposed_rule, report.placeholders)
            fit(found, report)
            await change_in(
                connection,
                found.rule_id,
                lambda rule: domain.propose(
                    rule, lesson.proposed_rule or "", found.title, "lesson", lesson.text,
                    lesson.actor, self._clock(),
                    {"incident_id": str(lesson.incident_id), "lesson_id": str(lesson.lesson_id)},
                ),
            )  # fmt: skip
        except (ProposalTextError, RefusedChangeError) as error:
            log.warning("lesson gives no proposal", lesson=str(lesson.lesson_id), error=str(error))
