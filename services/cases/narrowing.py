"""What people narrow the queue by, in a request or in a view that they saved, as it reaches SQL."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.cases.domain.vocabulary import Priority, Severity, State
from services.cases.filters import Filters

__all__ = ["ME", "Narrowing"]

ME = "me"  # in the place of a person: whoever asks
MOST_DUE = 90 * 86_400


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a filter holds a NUL character")
    text.encode()  # half a surrogate pair is a ValueError
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
Names = Annotated[list[Name] | None, Field(max_length=20, description="any of these")]


class Narrowing(BaseModel):
    """Any value of each filter that is given, and all of the filters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Annotated[list[State] | None, Field(max_length=20, description="any of these")] = None
    severity: Annotated[list[Severity] | None, Field(max_length=20, description="any of these")] = (
        None
    )
    priority: Annotated[list[Priority] | None, Field(max_length=20, description="any of these")] = (
        None
    )
    source_kind: Names = None
    owning_team: Names = None
    service: Names = None
    region: Names = None
    person: Annotated[
        list[Name] | None,
        Field(
            max_length=20,
            description="on the v-team, or owner of an open action: any of these; `me` is you",
        ),
    ] = None
    assigned: bool | None = Field(None, description="whether anybody is on it")
    restricted: bool | None = None
    due_within: int | None = Field(
        None,
        ge=0,
        le=MOST_DUE,
        description="an open action or obligation is due within so many seconds, or overdue",
    )
    q: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=256,
            description='words in it, all of them; "a phrase", `or` and `-not` are understood',
        ),
        AfterValidator(lambda text: text and _storable(text)),
    ] = None

    def filters(self, person: str, now: datetime) -> Filters:
        """Return the filters for *person*, who asks at *now*."""
        within = self.due_within
        people = self.person and [person if name == ME else name for name in self.person]
        return Filters(
            states=self.state,
            severities=self.severity,
            priorities=self.priority,
            source_kinds=self.source_kind,
            owning_teams=self.owning_team,
            services=self.service,
            regions=self.region,
            people=people,
            assigned=self.assigned,
            restricted=self.restricted,
            due_by=None if within is None else now + timedelta(seconds=within),
            q=self.q,
        )
