"""A subscriber that comes late: a snapshot over HTTP, then the messages of CASES after it.

What it does with each message is the whole of what docs/operations.md tells integrators.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from shared.contracts import cases as m

__all__ = ["LateSubscriber", "comparable"]

Row = dict[str, Any]
INSTANTS = ("opened_at", "updated_at", "detected_at", "aware_at")
BY_EVENT = {
    "IncidentEradicated": "eradicated",
    "IncidentRecovered": "recovered",
    "ReviewStarted": "in_review",
}


def comparable(row: Mapping[str, Any]) -> Row:
    """Return *row* with its instants as instants: two spellings of one are equal."""
    return {
        name: datetime.fromisoformat(value)
        if name in INSTANTS and isinstance(value, str)
        else value
        for name, value in row.items()
    }


class LateSubscriber:
    """Knows every incident that the snapshot shows, and follows the stream from there."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.position = 0
        self.sequence = 0
        self.pages = 0

    async def begin(
        self, client: httpx.AsyncClient, headers: Mapping[str, str], limit: int
    ) -> None:
        asked: dict[str, Any] = {"limit": limit}
        while True:
            answer = await client.get("/v1/snapshot", params=asked, headers=dict(headers))
            assert answer.status_code == 200, answer.text
            page = answer.json()
            self.pages += 1
            self.position, self.sequence = page["position"], page["stream_seq"]
            for row in page["items"]:
                assert row["incident_id"] not in self.rows
                self.rows[row["incident_id"]] = comparable(row)
            if page["next_cursor"] is None:
                return
            asked["cursor"] = page["next_cursor"]

    def take(self, subject: str, headers: Mapping[str, str], data: bytes) -> None:
        """Apply the next message of the stream."""
        position = int(headers["ce-position"])
        if position <= self.position:
            return  # the snapshot has it
        self.position = position
        known = {cls.SUBJECT: cls for cls in vars(m).values() if hasattr(cls, "SUBJECT")}
        message = known[subject].from_json(data)
        if isinstance(message, m.IncidentEvent):
            key = str(message.incident_id)
            row = self.rows.setdefault(key, {})
            row |= self._changed(row, message) | {
                "version": message.version,
                "position": message.position,
                "updated_at": message.occurred_at,
            }

    def _changed(self, row: Row, message: m.IncidentEvent) -> Row:
        match message:
            case m.IncidentOpenedV1():
                return {
                    "incident_id": str(message.incident_id),
                    "number": message.number,
                    "title": message.title,
                    "state": "opened",
                    "services": message.services,
                    "regions": message.regions,
                    "opened_at": message.occurred_at,
                    "merged_into": None,
                    "source_kind": message.source_kind,
                    "severity": None,
                    "owning_team": None,
                    "scope_version": 0,
                    "classification": None,
                    "detected_at": message.detected_at,
                    "aware_at": None,
                }
            case m.SeveritySetV1():
                return {"severity": message.level}
            case m.IncidentEscalatedV1():
                return {"state": "escalated", "owning_team": message.owning_team}
            case m.VTeamFormedV1():
                return {"state": "investigating"}
            case m.IncidentConfirmedV1():
                aware = row["aware_at"] or message.aware_at
                return {"state": "confirmed", "aware_at": aware}
            case m.IncidentDismissedV1():
                return {"state": "false_positive", "classification": message.classification}
            case m.IncidentContainedV1():
                return {"state": "contained"}
            case m.ScopeSetV1():
                return {"scope_version": message.scope_version}
            case m.IncidentClosedV1():
                return {"state": "closed", "classification": message.disposition}
            case m.IncidentMergedV1():
                return {"state": "merged", "merged_into": str(message.target_id)}
            case m.IncidentUnmergedV1():
                return {"state": message.state, "merged_into": None}
            case m.IncidentReopenedV1():
                return {"state": "investigating", "merged_into": None, "classification": None}
            case m.ConfirmationRetractedV1():
                return {"state": "investigating", "classification": None}
            case m.ContainmentLostV1():
                return {"state": "confirmed"}
            case m.ClockSetV1(clock="detected" | "aware"):
                return {f"{message.clock}_at": message.instant}
            case m.IncidentUpdatedV1():
                state = BY_EVENT.get(message.event)
                return {"state": state} if state else {}
            case _:
                return {}
