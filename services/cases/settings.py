"""Settings of cases: TOCSIN_CASES_* variables."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from services.cases.evidence.locks import LockMode
from shared.settings import ServiceSettings

__all__ = ["Settings"]


class Settings(ServiceSettings):
    """What an operator may set; every default is safe."""

    service: ClassVar[str] = "cases"

    port: int = Field(default=8083, ge=0, le=65535)
    max_waiting_appends: int = Field(
        64, ge=1, le=1000, description="commands that may wait for the log before 503"
    )
    case_policy_file: Path | None = Field(None, description="None: the shipped policy")
    relay_seconds: float = Field(0.2, gt=0, le=60, description="pause between looks at the log")
    scrub_seconds: float = Field(
        60, gt=0, le=3600, description="pause between pages of CASES that are compared with the log"
    )
    project_seconds: float = Field(0.2, gt=0, le=60, description="pause between looks at the log")
    log_key_file: Path | None = Field(
        None,
        description="Ed25519 key (PEM) that signs the log; without it there are no checkpoints",
    )
    log_origin: str = Field(
        "tocsin/cases",
        pattern=r"^[^\s+]{1,200}$",
        description="the log's name in its checkpoints: unique in the world, never changed",
    )
    checkpoint_seconds: float = Field(
        60.0, gt=0, le=3600, description="the longest time that an event stays unsigned"
    )
    master_key_file: Path | None = Field(
        None,
        description=(
            "64 hexadecimal digits a line: the first wraps the keys of personal data and evidence,"
            " the others still open; required"
        ),
    )
    record_retention_days: float = Field(
        1826.0,
        ge=0,
        le=36500,
        description="a confirmed incident is a record: nothing of it is erased for so many days",
    )
    evidence_dir: Path | None = Field(
        None, description="where evidence is kept; without it the routes of evidence answer 503"
    )
    evidence_url: str | None = Field(
        None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?$",
        description="instead of a directory: `s3://bucket/prefix`, with versions and object lock",
    )
    evidence_s3_endpoint: str | None = Field(
        None, pattern=r"^https?://[^/\s]+/?$", description="where S3 is, if it is not Amazon's"
    )
    evidence_s3_region: str | None = Field(None, description="None: us-east-1")
    evidence_s3_key_id: SecretStr | None = Field(
        None, description="None: botocore's own search (AWS_* variables, role of the pod or host)"
    )
    evidence_s3_secret: SecretStr | None = Field(
        None, description="the key's secret; better as `…_FILE`"
    )
    evidence_lock: LockMode = Field(
        LockMode.COMPLIANCE,
        description="object lock: `compliance`, `governance` or `none`",
    )
    evidence_lock_days: float = Field(
        30.0, gt=0, le=36500, description="locked from the upload on, until a retention is set"
    )
    evidence_encryption: bool = Field(
        True, description="evidence is sealed at rest; `false`: new bytes are kept in clear"
    )
    evidence_max_bytes: int = Field(
        5 << 30, ge=1, le=1 << 40, description="the largest item of evidence; a larger one is 413"
    )
    evidence_scrub_days: float = Field(
        30.0, gt=0, le=3650, description="each item of evidence is hashed again after so many days"
    )
    evidence_scrub_bytes_per_second: int = Field(
        20 << 20, ge=1 << 16, description="how fast the scrub may read"
    )
