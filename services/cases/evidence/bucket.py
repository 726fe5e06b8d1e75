"""A bucket that speaks S3: calls in threads, and its errors in the words of the port.

botocore rather than a smaller client: retention, legal hold and versions are operations of their
own, and only a whole client has them (ADR 0014).
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from services.cases.evidence.store import BlobMissingError, StoreError, StoreFullError

__all__ = ["Bucket", "BucketError", "Place", "parse_place"]

_MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"})
_REFUSED = frozenset({"AccessDenied", "403", "MethodNotAllowed", "ObjectLocked"})
CONNECTIONS = 32


class BucketError(StoreError):
    """The bucket's own refusal, with its code; ``refused`` if it forbids what was asked."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def refused(self) -> bool:
        return self.code in _REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the bytes are; without keys botocore looks for its own (environment, role, file)."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    key_id: str | None = None
    secret: str | None = None


def parse_place(url: str, **values: str | None) -> Place:
    """Return the place that ``s3://bucket/prefix`` names; ValueError if it names none."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("evidence_url reads s3://bucket/prefix")
    prefix = parts.path.strip("/")
    return Place(bucket=parts.netloc, prefix=f"{prefix}/" if prefix else "", **values)


def _told(call: Callable[[], Any], work: str) -> Any:
    """Run *call*; turn what it raises into the port's errors."""
    try:
        return call()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise BlobMissingError(work) from error
        if code in _FULL:
            raise StoreFullError(f"{work}: {error}") from error
        raise BucketError(f"{work}: {error}", code) from error
    except (BotoCoreError, HTTPException, OSError) as error:
        raise StoreError(f"{work}: {error}") from error


class Bucket:
    """Calls on one bucket. The client is made at the first call, as it reads files."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._client: Any = None
        self._making = asyncio.Lock()

    def _make(self) -> Any:
        place = self.place
        return Session().create_client(
            "s3",
            region_name=place.region or "us-east-1",
            endpoint_url=place.endpoint,
            aws_access_key_id=place.key_id,
            aws_secret_access_key=place.secret,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": 4},
                max_pool_connections=CONNECTIONS,
                # Not every server knows the newer checksums; each request's body is signed instead.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={
                    "payload_signing_enabled": True,
                    "addressing_style": "path" if place.endpoint else "auto",
                },
            ),
        )

    async def _ready(self) -> Any:
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(
                    lambda: _told(self._make, f"s3://{self.place.bucket}")
                )
        return self._client

    async def call(self, operation: str, **arguments: Any) -> Any:
        """Return the answer to *operation*; BlobMissingError, StoreFullError, StoreError."""
        client = await self._ready()
        method = getattr(client, operation)

        def work() -> Any:
            return method(Bucket=self.place.bucket, **arguments)

        named = arguments.get("Key") or arguments.get("Prefix") or self.place.bucket
        return await asyncio.to_thread(lambda: _told(work, f"{operation} {named}"))

    async def read(self, key: str, version: str, offset: int, length: int) -> bytes:
        """Return *length* bytes of one version, fewer at its end."""
        client = await self._ready()

        def work() -> bytes:
            answer = client.get_object(
                Bucket=self.place.bucket,
                Key=key,
                VersionId=version,
                Range=f"bytes={offset}-{offset + length - 1}",
            )
            with answer["Body"] as body:
                found: bytes = body.read()
            return found

        return bytes(await asyncio.to_thread(lambda: _told(work, f"get_object {key}")))

    async def pages(self, operation: str, part: str, **arguments: Any) -> list[dict[str, Any]]:
        """Return the entries *part* of every page of a listing."""
        client = await self._ready()

        def work() -> list[dict[str, Any]]:
            def entries() -> Iterator[dict[str, Any]]:
                pages = client.get_paginator(operation)
                for page in pages.paginate(Bucket=self.place.bucket, **arguments):
                    yield from page.get(part, ())

            return list(entries())

        found: list[dict[str, Any]] = await asyncio.to_thread(lambda: _told(work, operation))
        return found
