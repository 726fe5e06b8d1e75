"""What the bodies of all verbs have in common."""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.cases.domain import commands as c
from services.cases.domain.values import Actor
from shared.contracts.base import Instant

__all__ = ["Body", "Name", "Part", "Text", "Utc", "Who"]

Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=10_000)]
Utc = Annotated[Instant, AfterValidator(lambda instant: instant.astimezone(UTC))]


@dataclass(frozen=True, slots=True)
class Who:
    """Who gives the command, when, and under which id."""

    actor: Actor
    now: datetime
    command_id: UUID


class Part(BaseModel):
    """A value inside a body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(Part):
    """A request body; `order` returns the command. ``COMMAND`` decides the route's roles."""

    COMMAND: ClassVar[type[c.Command]]

    @abstractmethod
    def order(self, who: Who) -> c.Command: ...
