"""Settings of ingest (``TOCSIN_INGEST_*``)."""

from typing import ClassVar

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings

__all__ = ["Settings"]

MIB = 1 << 20


class Settings(ServiceSettings):
    service: ClassVar[str] = "ingest"

    port: int = Field(8080, ge=0, le=65535)
    key_pepper: SecretStr = Field(
        SecretStr(""), description="mixed into the stored hash of every API key"
    )
    max_body_bytes: int = Field(64 * MIB, ge=1024, description="of a request, decompressed")
    max_ratio: int = Field(100, ge=2, description="decompressed ÷ compressed size")
    max_items: int = Field(50_000, ge=1, description="events in one request")
    max_event_bytes: int = Field(64 * 1024, ge=256, le=480 * 1024)
    max_depth: int = Field(32, ge=2, le=200, description="nesting of a JSON event")
    max_in_flight_bytes: int = Field(64 * MIB, description="held for all requests together")
    key_cache_seconds: float = Field(10.0, ge=0, description="how late a revoked key is noticed")
