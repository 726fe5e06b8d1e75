"""The rules every contract keeps.

A released contract never changes; a new version stands beside it under a new subject, and both are
published until all consumers have moved. Readers ignore fields that they do not know. The subject
is ``tocsin.v<major>.<service>.<aggregate>.<event>``, the event a fact in the past tense.
``tests/contract/released/`` holds the JSON Schema of every released contract.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

__all__ = ["Contract", "ContractError", "Instant", "registry"]


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("an instant needs an offset from UTC")
    return value


Instant = Annotated[datetime, AfterValidator(_aware)]


class ContractError(Exception):
    """The bytes are not what the subject promises; sending them again will not help."""


class Part(BaseModel):
    """A value inside a contract."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Contract(Part):
    """A released message. ``event_id`` is also its ``Nats-Msg-Id`` and its ``ce-id``."""

    SUBJECT: ClassVar[str]

    event_id: UUID
    occurred_at: Instant

    @property
    def about(self) -> str | None:
        """Return the id of the thing this is about: it travels as ``ce-subject``."""
        return None

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the message in *data*; ContractError says which field is wrong."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ContractError(f"{cls.__name__}.{place}: {first['msg']}") from error

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


def registry() -> dict[str, type[Contract]]:
    """Return subject → contract for every contract there is."""
    from shared.contracts import cases, detect, escalate, ingest, notify  # noqa: F401 - defines them

    found: dict[str, type[Contract]] = {}
    pending: list[Any] = list(Contract.__subclasses__())
    while pending:
        contract = pending.pop()
        pending += contract.__subclasses__()
        if "SUBJECT" in contract.__dict__:
            if contract.SUBJECT in found:
                raise ValueError(f"two contracts claim {contract.SUBJECT}")
            found[contract.SUBJECT] = contract
    return found
