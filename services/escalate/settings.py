"""Settings of escalate (``TOCSIN_ESCALATE_*``)."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from services.escalate.directory import SHIPPED_DIRECTORY, load_directory
from services.escalate.grouping import Rules
from services.escalate.nciss import SHIPPED_NCISS, load_nciss_policy
from services.escalate.oncall.paging_file import SHIPPED_PAGING, load_paging
from services.escalate.policy import SHIPPED_SEVERITY, load_severity_policy
from services.escalate.priority import SHIPPED_PRIORITY, load_priority_policy
from services.escalate.proposal import Policies
from services.escalate.routing_file import SHIPPED_ROUTING, load_routing
from shared.egress import AllowList
from shared.errors import UserError
from shared.mailbox import MailboxPlace
from shared.settings import ServiceSettings, SettingsError, require

__all__ = ["Settings", "load_policies", "mailbox_of"]

LEVELS = frozenset({"SEV0", "SEV1", "SEV2", "SEV3", "SEV4"})


class Settings(ServiceSettings):
    service: ClassVar[str] = "escalate"

    port: int = Field(8082, ge=0, le=65535)
    group_minutes: int = Field(
        60, ge=1, le=1440, description="detections of one entity this close are one group"
    )
    group_span_hours: int = Field(24, ge=24, le=720, description="no group spans more than this")
    risk_threshold: int = Field(40, ge=1, description="risk that makes a group a proposal")
    progression_minutes: int = Field(
        240, ge=0, le=1440, description="the same for a detection of a later stage of an attack"
    )
    stage_points: int = Field(
        10, ge=0, le=100, description="risk that each stage adds by which an attack advanced"
    )
    entity_risk_threshold: int = Field(
        100, ge=1, description="risk of one entity over all its groups that makes a proposal"
    )
    entity_half_life_hours: float = Field(
        168, gt=0, le=8760, description="time in which the risk of an entity fades by half"
    )
    storm_groups: int = Field(
        10, ge=1, description="more entities than this for one rule at once are one proposal"
    )
    triage_days: int = Field(
        90, ge=31, le=3650,
        description="groups that came to nothing or are over, faded risk, and which messages were"
        " handled, are kept so long",
    )  # fmt: skip
    storm_seconds: float = Field(60, gt=0, le=3600, description="what counts as at once")
    extend_seconds: float = Field(
        1.0, gt=0, le=60, description="least time between two messages on what joined a proposal"
    )
    acknowledge_minutes: float = Field(
        15, gt=0, le=1440, description="time to acknowledge a support case before it is paged again"
    )
    routing_file: Path | None = Field(None, description="whom to engage; None: RT1 to RT10")
    paging_file: Path | None = Field(None, description="escalation policies; None: the shipped")
    public_url: str = Field(
        "http://127.0.0.1:8082", description="where people reach escalate, for links in pages"
    )
    link_hours: float = Field(24, gt=0, le=168, description="an acknowledgement link works so long")
    paging_secrets_file: Path | None = Field(
        None, description="JSON: name in a contact → URL, or url, secret, routing_key; read anew"
    )
    paging_allow: list[str] = Field(
        default_factory=list,
        description="host:port or CIDR that may be private and plain http (own chat, tests)",
    )
    paging_ca_file: Path | None = Field(None, description="instead of the system's authorities")
    slack_signing_secret: SecretStr | None = Field(
        None, description="of our Slack application, whose button then acknowledges by itself"
    )
    pagerduty_webhook_secret: SecretStr | None = Field(
        None, description="of a V3 webhook subscription at PagerDuty, which tells who acknowledged"
    )
    sender: str = Field("security@localhost", description="From of pages by e-mail")
    smtp_host: str | None = None
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_ca_file: Path | None = Field(None, description="instead of the system's authorities")
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    severity_minutes: float = Field(
        15, gt=0, le=1440, description="time to set a severity before the team is reminded"
    )
    v_team_minutes: dict[str, Annotated[float, Field(gt=0, le=10_080)]] = Field(
        {"SEV0": 15.0, "SEV1": 30.0, "SEV2": 240.0, "SEV3": 1440.0},
        description="time from escalation to the v-team before the duty manager is paged, as JSON;"
        " a severity that is left out is not waited for",
    )
    doors_file: Path | None = Field(
        None, description="doors of Alertmanager, PagerDuty and mail with their keys' digests"
    )
    maildir: Path | None = Field(
        None, description="a Maildir that a mail server delivers reports to"
    )
    imap_host: str | None = Field(None, description="where a mailbox of reports is read")
    imap_port: int = Field(993, ge=1, le=65535, description="143 with `starttls`")
    imap_security: Literal["tls", "starttls", "none"] = Field(
        "tls", description="`tls`, `starttls`, or `none` for a server on this machine"
    )
    imap_ca_file: Path | None = Field(None, description="instead of the system's authorities")
    imap_user: str | None = Field(None, description="who reads the mailbox")
    imap_password: SecretStr | None = Field(None, description="of that user")
    imap_folder: str = Field("INBOX", description="what was read moves to Taken or Refused")
    imap_seconds: float = Field(30, ge=1, le=3600, description="time between looks at the mailbox")
    mail_authserv_id: str | None = Field(
        None, description="our own mail server's name in Authentication-Results (RFC 8601)"
    )
    directory_file: Path | None = Field(None, description="services, tiers, teams; None: shipped")
    severity_policy_file: Path | None = Field(None, description="None: the shipped policy")
    priority_policy_file: Path | None = Field(None, description="None: the shipped policy")
    nciss_policy_file: Path | None = Field(None, description="None: the shipped policy")

    @field_validator("v_team_minutes")
    @classmethod
    def _levels(cls, minutes: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(minutes.keys() - LEVELS):
            raise ValueError(f"{unknown[0]!r} is no severity; they are {', '.join(sorted(LEVELS))}")
        return minutes

    @field_validator("paging_allow")
    @classmethod
    def _allow_list(cls, entries: list[str]) -> list[str]:
        AllowList.parse(entries)
        return entries


def load_policies(settings: Settings) -> Policies:
    """Return what *settings* name; SettingsError says which file is wrong, where and why."""
    try:
        return Policies(
            rules=Rules(
                gap=timedelta(minutes=settings.group_minutes),
                span=timedelta(hours=settings.group_span_hours),
                threshold=settings.risk_threshold,
                progression_gap=timedelta(minutes=settings.progression_minutes),
                stage_points=settings.stage_points,
                entity_threshold=settings.entity_risk_threshold,
                half_life=timedelta(hours=settings.entity_half_life_hours),
                storm_groups=settings.storm_groups,
                storm_window=timedelta(seconds=settings.storm_seconds),
            ),
            directory=load_directory(settings.directory_file or SHIPPED_DIRECTORY),
            severity=load_severity_policy(settings.severity_policy_file or SHIPPED_SEVERITY),
            priority=load_priority_policy(settings.priority_policy_file or SHIPPED_PRIORITY),
            nciss=load_nciss_policy(settings.nciss_policy_file or SHIPPED_NCISS),
            routing=load_routing(settings.routing_file or SHIPPED_ROUTING),
            paging=load_paging(settings.paging_file or SHIPPED_PAGING),
        )
    except UserError as error:
        raise SettingsError(str(error)) from error


def mailbox_of(settings: Settings) -> MailboxPlace | None:
    """Return the mailbox of reports; SettingsError if it is named and nobody who may read it."""
    if settings.imap_host is None:
        return None
    if settings.imap_user is None:
        raise SettingsError("TOCSIN_ESCALATE_IMAP_USER is not set")
    return MailboxPlace(
        host=settings.imap_host,
        port=settings.imap_port,
        security=settings.imap_security,
        user=settings.imap_user,
        password=require(settings, "imap_password"),
        folder=settings.imap_folder,
        ca_file=settings.imap_ca_file,
    )
