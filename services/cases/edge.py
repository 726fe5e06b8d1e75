"""What the routes of commands have in common: versions, keys, and refusals as problems."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Header, Request
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from services.cases.domain.errors import NotAllowed
from services.cases.store import CommandReusedError, OverloadedError, VersionConflict
from shared.problems import ProblemError

__all__ = ["IdempotencyKey", "IfMatch", "body_digest", "expected_version", "refusals"]

_VERSION = re.compile(r'"(\d{1,9})"')

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description='the version that was read: `"7"`')
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="the same key and body get the same answer, once done",
    ),
]


def expected_version(if_match: str | None, *, required: bool = True) -> int | None:
    """Return the version that the caller has read; 428 without one if it is *required*."""
    if if_match is None:
        if required:
            raise ProblemError(
                428, "version_missing", "Send If-Match with the version that you have read."
            )
        return None
    if (version := _VERSION.fullmatch(if_match.strip())) is None:
        raise ProblemError(422, "malformed", 'If-Match is one version in quotes: "7".')
    return int(version[1])


def body_digest(request: Request, body: BaseModel) -> str:
    """Return what tells this request from another one under the same key."""
    try:
        told = f"{request.url.path}\n{body.model_dump_json()}"
    except PydanticSerializationError as error:
        # JSON can name half a surrogate pair, but no such text can be stored.
        raise ProblemError(422, "malformed", "A text in the body is not Unicode.") from error
    return hashlib.sha256(told.encode()).hexdigest()


@contextmanager
def refusals(thing: str, unknown: type[Exception], expected: int | None) -> Iterator[None]:
    """Turn the refusals of the inside into those of the edge; *thing* is what it is about."""
    try:
        yield
    except NotAllowed as refusal:
        unmet = [{"code": u.code, "detail": u.detail} for u in refusal.unmet]
        sentence = "; ".join(u.detail for u in refusal.unmet)
        raise ProblemError(409, refusal.code, f"{sentence}.", unmet=unmet) from refusal
    except unknown as error:
        raise ProblemError(404, "not_found", f"There is no such {thing} for you.") from error
    except VersionConflict as conflict:
        if expected is None:
            raise ProblemError(
                503,
                "busy",
                f"Others change this {thing} at the same time; nothing was changed, so retry.",
                headers={"Retry-After": "1"},
            ) from conflict
        raise ProblemError(
            412,
            "stale_version",
            f"The {thing} is at version {conflict.current}, not {expected}; read it again.",
            headers={"ETag": f'"{conflict.current}"'},
            current_version=conflict.current,
        ) from conflict
    except CommandReusedError as error:
        raise ProblemError(
            422, "key_reused", "This Idempotency-Key was used for something else."
        ) from error
    except OverloadedError as error:
        raise ProblemError(
            503,
            "busy",
            "Too many commands wait for the log; nothing was changed, so retry.",
            headers={"Retry-After": "1"},
        ) from error
