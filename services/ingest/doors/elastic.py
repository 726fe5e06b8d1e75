"""Elasticsearch ``_bulk``: action lines and document lines, one answer an action.

Every document is taken, whatever its index; one that cannot be read goes to quarantine and is
answered like the others, since clients drop a failed item (Fluent Bit even takes a partly good
request for delivered). ``_index`` and ``_id`` are the identity of a document: a ``create`` that is
known answers 409 as Elasticsearch would, an ``index`` 200. ``delete`` is refused: events stay.
"""

from datetime import datetime
from typing import Any

import msgspec
import orjson

from services.ingest.doors.exchange import Answer, Decoded, Door, Outcome, Refusal, Request
from services.ingest.framing import Item, too_many

__all__ = ["Elastic"]

PRODUCT = ((b"x-elastic-product", b"Elasticsearch"),)
_VENDORED = "application/vnd.elasticsearch+"
_TYPES = {
    400: "parse_exception", 401: "security_exception", 408: "timeout_exception",
    413: "content_too_long_exception", 415: "media_type_header_exception",
    429: "es_rejected_execution_exception", 503: "unavailable_shards_exception",
}  # fmt: skip


class _Target(msgspec.Struct):
    index: Any = msgspec.field(default=None, name="_index")
    id: Any = msgspec.field(default=None, name="_id")


class _Action(msgspec.Struct):
    create: _Target | None = None
    index: _Target | None = None
    update: _Target | None = None
    delete: _Target | None = None


_decode_action = msgspec.json.Decoder(_Action).decode


class _Bulk:
    """Which action each item was, to answer in order."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: list[str] = []


class Elastic(Door):
    """What Beats, Logstash, Vector, Fluent Bit, rsyslog and syslog-ng speak."""

    name = "elasticsearch"

    def decode(self, request: Request, body: bytes) -> Decoded:
        most = self.bounds.max_items
        if body.count(b"\n") > 4 * most:
            raise too_many(most)
        default = request.params.get("index")
        lines = enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
        items: list[Item] = []
        bulk = _Bulk()
        seen: dict[bytes, tuple[str, str | None, str | None]] = {}  # most action lines are equal
        for number, line in lines:
            if not line or line.isspace():
                continue
            if (action := seen.get(line)) is None:
                action = _read_action(line, number, default)
                if action[2] is None:
                    seen[line] = action
            operation, index, identity = action
            bulk.operations.append(operation)
            if operation == "delete":
                continue
            document = next(lines, (0, b""))[1].strip()
            if not document:
                raise _malformed(number, "no document follows the action")
            key = None if identity is None else f"{index}\x1f{identity}"
            fields = {"_index": index} if index else None
            items.append(Item(len(bulk.operations) - 1, document, False, key, None, fields))
            if len(items) > most:
                raise too_many(most)
        if not bulk.operations:
            raise Refusal(400, "unframeable", "request body is required")
        return Decoded(items, bulk)

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        operations: list[str] = outcome.context.operations
        known = outcome.known
        failed = "delete" in operations or any(operations[i] == "create" for i in known)
        if not known and not failed and len(set(operations)) == 1:
            items = ",".join([f'{{"{operations[0]}":{{"status":201}}}}'] * len(operations))
        else:
            items = ",".join(
                _item(operation, index in known) for index, operation in enumerate(operations)
            )
        # "errors" before "items", and compact: Fluent Bit and Vector search for the text of it.
        body = (
            f'{{"took":{int(outcome.seconds * 1000)},"errors":{"true" if failed else "false"},'
            f'"items":[{items}]}}'
        )
        return Answer(200, body.encode(), media_type(request), PRODUCT)

    def refuse(self, request: Request, refusal: Refusal, now: datetime) -> Answer:
        # 429 is what Elasticsearch says when it cannot take more; every client waits and repeats.
        status = 429 if refusal.status == 503 else refusal.status
        cause = {"type": _TYPES.get(status, "illegal_argument_exception"), "reason": refusal.detail}
        body = {"error": {"root_cause": [cause], **cause}, "status": status}
        return Answer(status, orjson.dumps(body), media_type(request), PRODUCT)


def media_type(request: Request) -> str:
    """Return the vendored type that a client of version 8 and later insists on, or plain JSON."""
    accept = request.headers.get("accept", "")
    if accept.startswith(_VENDORED) and "," not in accept and accept.isprintable():
        return accept.replace("x-ndjson", "json")
    return "application/json"


def _read_action(
    line: bytes, number: int, default: str | None
) -> tuple[str, str | None, str | None]:
    try:
        action = _decode_action(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _malformed(number, str(error)) from error
    for operation in ("create", "index", "update", "delete"):
        target: _Target | None = getattr(action, operation)
        if target is not None:
            index = default if target.index is None else str(target.index)[:255]
            return operation, index, None if target.id is None else str(target.id)
    raise _malformed(number, "expected one of create, index, update, delete")


def _malformed(number: int, why: str) -> Refusal:
    return Refusal(400, "unframeable", f"Malformed action/metadata line [{number}], {why}")


def _item(operation: str, known: bool) -> str:
    if operation == "delete":
        reason = '{"type":"security_exception","reason":"log events are never deleted"}'
        return f'{{"delete":{{"status":403,"error":{reason}}}}}'
    if not known:
        return f'{{"{operation}":{{"status":201}}}}'
    if operation != "create":
        return f'{{"{operation}":{{"status":200}}}}'
    reason = '{"type":"version_conflict_engine_exception","reason":"document already exists"}'
    return f'{{"create":{{"status":409,"error":{reason}}}}}'
