"""Bodies of the routes of support cases."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

__all__ = ["CaseBody", "ReportBody", "TextBody", "TriageBody"]

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)


def _storable(value: str) -> str:
    """Refuse what PostgreSQL cannot keep: it would not be the statement any more."""
    if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("a text holds no NUL and no half of a surrogate pair")
    return value


def _word(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("a name is printable, on one line and not empty")
    return value.strip()


def _plausible(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("an instant lies between 1970 and 2999")
    return value


Long = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_storable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_word)]
Names = Annotated[list[Name], Field(max_length=50)]
Instant = Annotated[AwareDatetime, AfterValidator(_plausible)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CaseBody(_Body):
    """What a customer tells."""

    title: Name
    statement: Long = Field(description="in their own words; kept verbatim")
    observed_at: Instant | None = None
    services: Names = Field(default_factory=list)
    regions: Names = Field(default_factory=list)


class ReportBody(CaseBody):
    """What somebody told a member of staff, or what they saw themselves (R07)."""

    source_kind: Literal[
        "customer_case", "employee_report", "partner", "external_researcher", "law_enforcement"
    ] = "employee_report"
    tenant: Name | None = Field(None, description="whose case it is, if it is a customer's")


class TriageBody(_Body):
    """The verdict; ``message`` goes to the customer."""

    outcome: Literal["escalate", "customer_realm", "not_security", "need_info"]
    message: Long
    services: Names = Field(default_factory=list, description="those affected, if known better")
    regions: Names = Field(default_factory=list)
    inputs: dict[str, Any] = Field(
        default_factory=dict,
        max_length=16,
        description="criteria of the severity policy that are known",
    )


class TextBody(_Body):
    text: Long
