"""CloudEvents 1.0 in binary mode on NATS: attributes are percent-encoded ``ce-`` headers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from shared.clock import rfc3339
from shared.contracts.base import Contract
from shared.trace import current_traceparent

__all__ = ["Outgoing", "outgoing"]

# Printable ASCII except space, double quote and percent stays as it is (CloudEvents HTTP §3.1.3.2).
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message ready for the broker; ``id`` becomes ``Nats-Msg-Id``."""

    id: str
    subject: str
    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def outgoing(
    contract: Contract, *, source: str, sequence: int | None = None, position: int | None = None
) -> Outgoing:
    """Return *contract* as a message of service *source*."""
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": str(contract.event_id),
        "ce-type": contract.SUBJECT,
        "ce-source": f"/tocsin/{source}",
        "ce-time": rfc3339(contract.occurred_at),
        "ce-datacontenttype": "application/json",
        "ce-dataschema": f"/schemas/{contract.SUBJECT}",
    }
    if contract.about is not None:
        attributes["ce-subject"] = contract.about
    if sequence is not None:
        attributes["ce-sequence"] = f"{sequence:020d}"
    if position is not None:
        attributes["ce-position"] = str(position)
    headers = {name: quote(value, safe=_SAFE) for name, value in attributes.items()}
    if parent := current_traceparent():
        headers["traceparent"] = parent
    return Outgoing(str(contract.event_id), contract.SUBJECT, contract.to_json(), headers)
