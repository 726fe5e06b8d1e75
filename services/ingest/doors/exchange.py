"""What a door sees of HTTP and says to it: requests, answers, refusals. No I/O, so doors are pure.

A door is one wire protocol. It turns a body into items and an outcome into the answer that the
client of that protocol expects; everything between is the same for all (`gate.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import msgspec
import orjson

from services.ingest.framing import Item
from services.ingest.keys import ApiKey, key_from_header
from shared.problems import MEDIA_TYPE, problem_document

__all__ = ["Answer", "Bounds", "Decoded", "Door", "Outcome", "Refusal", "Request", "json_answer"]

Headers = tuple[tuple[bytes, bytes], ...]


class Request:
    """The head of a request. Header names are lower case; nothing is parsed before it is asked."""

    __slots__ = ("_query", "headers", "id", "method", "params", "path", "query_string")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.params: Mapping[str, str] = scope.get("path_params") or {}
        self.headers: Mapping[str, str] = scope["tocsin_headers"]
        self.query_string: bytes = scope.get("query_string", b"")
        self.id: str = scope.get("tocsin_request_id", "")
        self._query: dict[str, str] | None = None

    @property
    def query(self) -> Mapping[str, str]:
        if self._query is None:
            text = self.query_string.decode("latin-1")
            self._query = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=None))
        return self._query

    @property
    def media_type(self) -> str:
        """Return the Content-Type without its parameters, in lower case; "" when absent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """A request is turned away as a whole: status, stable code, sentence, when to come again."""

    def __init__(
        self, status: int, code: str, detail: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail, self.retry_after = status, code, detail, retry_after
        self.at: int | None = None
        """Index of the item at fault, where framing ended."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Headers = ()


class Decoded(msgspec.Struct, frozen=True):
    """The items of a body, and whatever the door needs again to answer.

    Items may come one by one as they are decoded, so that only their envelopes lie in memory.
    """

    items: Iterable[Item]
    context: Any = None
    answer: Answer | None = None
    """Set when the body asks for an answer of its own and carries no events (a handshake)."""
    lines: Sequence[bytes] | None = None
    """The same as *items*, where each of these is a JSON object that needs no second look."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a request; all of it is durable."""

    accepted: int
    known: frozenset[int]
    quarantined: int
    context: Any
    now: datetime
    seconds: float
    source_id: str


def json_answer(status: int, body: object, headers: Headers = ()) -> Answer:
    """Return *body* as compact JSON."""
    return Answer(status, orjson.dumps(body), headers=headers)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may hold."""

    max_items: int
    max_event_bytes: int
    max_body_bytes: int
    max_ratio: int


class Door:
    """One wire protocol; the methods have the native protocol's answers as defaults."""

    name: ClassVar[str] = "native"
    bounds: Bounds

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def key(self, request: Request) -> ApiKey | None:
        """Return the API key that *request* carries, or None."""
        return key_from_header(request.headers.get("authorization", ""))

    def encoding(self, request: Request) -> str:
        """Return how the body is compressed."""
        return request.headers.get("content-encoding", "")

    def decode(self, request: Request, body: bytes) -> Decoded:
        """Return the items of *body*; Refusal or UnframeableError when it cannot be framed."""
        raise NotImplementedError

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        """Return the success that clients of this protocol want."""
        raise NotImplementedError

    def refuse(self, request: Request, refusal: Refusal, now: datetime) -> Answer:
        """Return *refusal* in the words of this protocol: a problem document by default."""
        document = problem_document(
            refusal.status, refusal.code, refusal.detail, request_id=request.id
        )
        return Answer(refusal.status, orjson.dumps(document), MEDIA_TYPE)
