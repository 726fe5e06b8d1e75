"""What every channel is: a notification in; a proof, or an error that says whether to try again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

__all__ = ["Channel", "DeliveryError", "Notification", "Proof"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one tenant by one channel; its id is the same at every attempt (§2.4)."""

    id: UUID
    incident_id: UUID
    tenant: str
    recipients: Sequence[str]
    subject: str
    text: str
    body: str
    created_at: datetime
    secret_ref: str | None = None
    accepted: Mapping[str, str] = field(default_factory=dict)
    """Recipients that an earlier attempt reached, with the reply; they are not sent to again."""
    refused: Collection[str] = ()
    """Recipients that an earlier attempt was refused for good; they are not asked again."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The other side took it: its answer in words, and by recipient where there are several.

    ``refused``: those of the recipients that it will never take it for.
    """

    answer: str
    recipients: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


class DeliveryError(Exception):
    """Not delivered, or not known to be.

    ``accepted``: the recipients that it did reach; ``refused``: those that it never will.
    ``relay_down``: it was not about this message: what all of them go through did not answer.
    """

    def __init__(
        self,
        answer: str,
        *,
        retryable: bool,
        recipients: Mapping[str, str] | None = None,
        accepted: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        relay_down: bool = False,
    ) -> None:
        super().__init__(answer)
        self.answer = answer[:2000]
        self.retryable = retryable
        self.recipients = dict(recipients or {})
        self.accepted = dict(accepted or {})
        self.refused = dict(refused or {})
        self.retry_after = retry_after
        self.relay_down = relay_down


class Channel(Protocol):
    """A way to a tenant."""

    async def send(self, notification: Notification) -> Proof:
        """Return the proof; DeliveryError when there is none."""
        ...
