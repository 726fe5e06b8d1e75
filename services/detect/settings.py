"""Settings of detect (``TOCSIN_DETECT_*``)."""

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from shared.settings import ServiceSettings

__all__ = ["Settings"]


class Settings(ServiceSettings):
    service: ClassVar[str] = "detect"

    port: int = Field(8081, ge=0, le=65535)
    rules: str = Field(
        "", description="folders and zip archives of Sigma rules, separated like PATH"
    )
    shipped_pack: bool = Field(True, description="also use the rules that come with Tocsin")
    workers: int = Field(
        1,
        ge=0,
        le=64,
        description="processes that evaluate blocks, beside one for correlations;"
        " 0: threads of the service do both",
    )
    reload_seconds: float = Field(1.0, ge=0.1, description="how often rule files are looked at")
    cache_directory: Path | None = Field(
        None, description="where parsed rules are kept for the next start; none: parsed anew"
    )
    bookkeeping_days: float = Field(
        35.0,
        gt=30,  # the broker may give a message again for so long
        description="how long evaluated blocks, handled messages and back-tests are known",
    )

    correlation_partitions: int = Field(
        4,
        ge=1,
        le=256,
        description="over how many partitions groups are spread; all replicas alike",
    )
    correlation_lateness_seconds: float = Field(
        10.0, ge=0, le=3600, description="how long correlations wait for events of other sources"
    )
    correlation_groups: int = Field(
        1_000_000, ge=1, description="groups of one correlation in one partition, then eviction"
    )

    @property
    def rule_directories(self) -> list[Path]:
        return [Path(part) for part in self.rules.split(os.pathsep) if part]
