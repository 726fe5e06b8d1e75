"""Settings of ingest (``TOCSIN_INGEST_*``)."""

import tempfile
from pathlib import Path
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
    source_events_per_second: float | None = Field(
        None, gt=0, description="of each source; beyond it 429. Unlimited by default"
    )
    activity_seconds: float = Field(
        5.0, ge=0.1, le=60, description="how often what sources did is written and looked at"
    )
    stream_volume: Path | None = Field(
        None, description="where NATS keeps its streams, if on this machine: 503 below 10 % free"
    )
    elastic_version: str = Field(
        "8.17.0", description="that Elasticsearch clients are told in the handshake"
    )
    syslog_host: str = Field("127.0.0.1", description="where the syslog listeners listen")
    syslog_tls_port: int | None = Field(
        None, ge=0, le=65535, description="RFC 5425 (6514); off by default"
    )
    syslog_tcp_port: int | None = Field(
        None, ge=0, le=65535, description="plaintext; off by default"
    )
    syslog_udp_port: int | None = Field(
        None, ge=0, le=65535, description="plaintext and lossy; off by default"
    )
    syslog_tls_certificate: Path | None = Field(None, description="PEM chain of the listener")
    syslog_tls_key: Path | None = Field(None, description="its key, PEM")
    syslog_tls_client_ca: Path | None = Field(
        None,
        description="whose certificates senders must show; without it they are known by address",
    )
    syslog_senders: dict[str, str] = Field(
        default_factory=dict,
        description="who sends → source id (JSON): an address or network, `cn:<name>`,"
        " `san:<name>` or `sha256:<fingerprint>` of a client certificate",
    )
    syslog_connections: int = Field(1000, ge=1, description="open at the same time")

    store_url: str = Field(
        "",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?|[^:]*)$",
        description="the log store: a directory, or s3://bucket/prefix; empty: none is kept",
    )
    store_s3_endpoint: str | None = Field(
        None, pattern=r"^https?://[^/\s]+/?$", description="where S3 is, if it is not Amazon's"
    )
    store_s3_region: str | None = Field(None, description="None: us-east-1")
    store_s3_key_id: SecretStr | None = Field(
        None, description="without it and the secret, botocore looks for keys of its own"
    )
    store_s3_secret: SecretStr | None = Field(None, description="goes with the key id")
    store_cache_directory: Path | None = Field(
        None,
        description="copies of files of an s3:// store, and extracts being made;"
        " None: tocsin-store among the temporary files",
    )
    store_cache_bytes: int = Field(10 << 30, ge=1 << 20, description="of copies of s3:// files")
    store_batch_seconds: float = Field(2.0, ge=0.1, le=20, description="how late a search may see")
    store_batch_events: int = Field(30_000, ge=500, le=500_000, description="written at a time")
    store_memory_mib: int = Field(512, ge=64, description="DuckDB's, while it writes or merges")
    store_retention_days: int = Field(90, ge=1, le=3660, description="of sources without their own")
    search_processes: int = Field(1, ge=1, le=64, description="searches at the same time")
    search_threads: int = Field(2, ge=1, le=64, description="of one search")
    search_memory_mib: int = Field(512, ge=64, description="DuckDB's, of one search")
    search_seconds: float = Field(30.0, ge=1, le=600, description="then a search is ended")
    search_max_bytes: int = Field(8 * MIB, ge=65_536, description="of events on one page")
    extract_max_bytes: int = Field(256 * MIB, ge=65_536, description="of an extract")
    replay_events_per_second: int = Field(20_000, ge=1, description="published by a replay")

    @property
    def store_cache(self) -> Path:
        """Where copies and extracts go."""
        return self.store_cache_directory or Path(tempfile.gettempdir()) / "tocsin-store"
