"""CloudEvents in binary mode on NATS."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.cloudevents import outgoing
from shared.contracts.cases import IncidentClosedV1
from shared.trace import traced

pytestmark = pytest.mark.unit
CLOSED = IncidentClosedV1(
    event_id=UUID(int=1),
    occurred_at=datetime(2026, 1, 2, tzinfo=UTC),
    incident_id=UUID(int=2),
    number="TOCSIN-2026-0001",
    version=3,
    position=4,
    actor="Zoë",
    disposition="true_positive",
)


def test_attributes_are_headers_and_the_id_is_the_message_id() -> None:
    with traced({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}):
        message = outgoing(CLOSED, source="cases", sequence=3, position=4)
    assert message.id == message.headers["ce-id"] == str(CLOSED.event_id)
    assert message.subject == message.headers["ce-type"] == "tocsin.v1.cases.incident.closed"
    assert message.headers["ce-subject"] == str(CLOSED.incident_id)
    assert message.headers["ce-sequence"] == "00000000000000000003"
    assert message.headers["ce-position"] == "4"
    assert message.headers["ce-time"] == "2026-01-02T00:00:00.000000Z"
    assert message.headers["traceparent"][3:35] == "a" * 32
    assert all(value.isascii() for value in message.headers.values())


def test_what_is_sent_can_be_read() -> None:
    assert IncidentClosedV1.from_json(outgoing(CLOSED, source="cases").payload) == CLOSED
