"""Settings of notify (``TOCSIN_NOTIFY_*``)."""

from email.utils import parseaddr
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from services.notify.imap import Access
from services.notify.inventory import Kind
from shared.egress import AllowList
from shared.settings import ServiceSettings

__all__ = ["InventorySource", "Settings"]


class InventorySource(BaseModel):
    """Where a part of the inventory is fetched from, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    url: SecretStr = Field(description="https; it may hold a secret, so it is never shown")
    kind: Kind | None = Field(None, description="what CSV holds; null: rows say it themselves")
    seconds: float = Field(300, ge=10, le=7 * 86400, description="between fetches, with jitter")
    replace: bool = Field(True, description="false: rows are added, nothing is taken away")
    skip_rejected: bool = Field(False, description="take the rest of a document with bad rows")
    token_file: Path | None = Field(None, description="sent as bearer token; read at each fetch")


class Settings(ServiceSettings):
    service: ClassVar[str] = "notify"

    port: int = Field(8084, ge=0, le=65535)
    inventory_file: Path | None = Field(
        None, description="YAML or JSON; read again when it changes. None: the last one imported"
    )
    inventory_sync: list[InventorySource] = Field(
        default_factory=list,
        description="JSON list of sources to fetch: name, url, kind, seconds, replace,"
        " skip_rejected, token_file",
    )
    inventory_sync_allow: list[str] = Field(
        default_factory=list,
        description="host:port or CIDR of sources that may be private and plain http",
    )
    inventory_sync_ca_file: Path | None = Field(
        None, description="instead of the system's authorities"
    )
    operator_name: str = Field("Tocsin", description="who signs the customer notice")
    # Both by default: an obligation too many is decided away, one too few is missed (I7).
    operator_capacities: list[str] | None = Field(
        ["controller", "processor"], description="null: not stated, all are undecided"
    )
    operator_data_subject_regions: list[str] | None = Field(
        None, description='of the data that the operator controls itself, e.g. ["EU"]'
    )

    operator_contact: str | None = Field(
        None, description="whom authorities and customers ask: name, telephone, e-mail"
    )
    operator_privacy_contact: str | None = Field(
        None, description="the data protection officer or another contact; else operator_contact"
    )
    operator_country: str | None = Field(
        None, description="two letters; gives the authority's time zone and holidays, e.g. DE"
    )
    operator_entity_classes: list[str] | None = Field(
        None, description="as regimes name them, e.g. credit_institution, small_agent"
    )
    operator_service_kinds: list[str] | None = Field(
        None, description="cloud, managed_service, data_centre (NIS2 thresholds)"
    )
    regimes_files: list[Path] = Field(
        default_factory=list, description="your own rows; one of a shipped id replaces it"
    )
    regimes_enabled: dict[str, bool] = Field(
        default_factory=dict, description='switch rows, e.g. {"uk_gdpr": true, "pci": false}'
    )

    templates_dir: Path | None = Field(
        None, description="folder of your own templates and fields (*.yml), over the shipped ones"
    )
    default_locale: str = Field(
        "en", pattern="^[a-z]{2,3}(-[A-Z]{2})?$", description="where a tenant's locale has no text"
    )
    form_fonts: list[Path] = Field(
        default_factory=list, description="TrueType fonts to embed in forms after Noto Sans"
    )

    alarm_seconds: float = Field(
        5.0, gt=0, description="seconds between looks for obligations whose time runs out"
    )

    sender: str = Field("security@localhost", description="From of the e-mail notices")
    smtp_host: str | None = None
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_ca_file: Path | None = Field(None, description="instead of the system's authorities")
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None

    bounce_address: str | None = Field(
        None, description="return path of notices; bounces come to it, the notice's id after a +"
    )
    bounce_smtp_host: str = Field("127.0.0.1", description="where the drop listens for bounces")
    bounce_smtp_port: int | None = Field(
        None, ge=0, le=65535, description="null: no drop; the relay routes bounce_address to it"
    )
    bounce_maildir: Path | None = Field(None, description="a Maildir that bounces arrive in")

    bounce_imap_host: str | None = Field(
        None, description="IMAP server of the mailbox that bounces arrive in"
    )
    bounce_imap_port: int = Field(993, ge=1, le=65535, description="143 with `starttls`")
    bounce_imap_security: Literal["tls", "starttls", "none"] = Field(
        "tls", description="`none` sends the password in clear"
    )
    bounce_imap_ca_file: Path | None = Field(
        None, description="instead of the system's authorities"
    )
    bounce_imap_user: str | None = Field(None, description="login at the IMAP server")
    bounce_imap_password: SecretStr | None = Field(None, description="its password")
    bounce_imap_mailbox: str = Field("INBOX", description="is only read, never changed")
    bounce_imap_seconds: float = Field(
        60.0, ge=1, description="pause between looks; longer, up to 900, while they fail"
    )

    webhook_secrets_file: Path | None = Field(
        None, description="JSON: secret_ref of the inventory → whsec_…; read at each sending"
    )
    webhook_allow: list[str] = Field(
        default_factory=list,
        description="host:port or CIDR that may be private and plain http (tests, demo)",
    )
    webhook_ca_file: Path | None = Field(None, description="instead of the system's authorities")

    # Long stop of claims in many laws; yours may differ.
    proof_retention_days: int = Field(
        3653, ge=1, description="how long words and recipients of what was sent outlive an erasure"
    )
    dispatch_workers: int = Field(4, ge=1, le=64, description="messages sent at the same time")
    dispatch_interval: float = Field(1.0, gt=0, description="seconds between looks for due ones")
    lease_seconds: float = Field(60.0, ge=45, description="longer than any attempt may take")

    @field_validator("webhook_allow", "inventory_sync_allow")
    @classmethod
    def _allow_list(cls, entries: list[str]) -> list[str]:
        AllowList.parse(entries)
        return entries

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.inventory_file is not None and self.inventory_sync:
            raise ValueError("inventory_file says what runs: name it or inventory_sync, not both")
        names = [source.name for source in self.inventory_sync]
        if len(set(names)) < len(names):
            raise ValueError("two sources of inventory_sync have one name")
        return self

    @model_validator(mode="after")
    def _bounces(self) -> Self:
        read = (self.bounce_smtp_port, self.bounce_maildir, self.bounce_imap_host)
        if any(way is not None for way in read) and self.bounce_address is None:
            raise ValueError("bounces arrive only where bounce_address is set")
        return self

    @model_validator(mode="after")
    def _mailbox(self) -> Self:
        login = (self.bounce_imap_user, self.bounce_imap_password)
        if self.bounce_imap_host is not None and None in login:
            raise ValueError("bounce_imap_host needs bounce_imap_user and bounce_imap_password")
        return self

    @property
    def bounce_mailbox(self) -> Access | None:
        """Where bounces are read over IMAP; None: nowhere."""
        if (
            self.bounce_imap_host is None
            or self.bounce_imap_user is None
            or self.bounce_imap_password is None
        ):
            return None
        return Access(
            host=self.bounce_imap_host,
            port=self.bounce_imap_port,
            security=self.bounce_imap_security,
            user=self.bounce_imap_user,
            password=self.bounce_imap_password.get_secret_value(),
            mailbox=self.bounce_imap_mailbox,
            ca_file=self.bounce_imap_ca_file,
        )

    @field_validator("sender", "bounce_address")
    @classmethod
    def _sender(cls, sender: str | None) -> str | None:
        if sender is not None and "@" not in parseaddr(sender)[1]:
            raise ValueError(f"{sender!r} is not an e-mail address")
        return sender
