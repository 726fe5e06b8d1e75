"""The native door: ``POST /v1/events`` with JSON lines, an array, concatenated JSON or text lines.

202 ``{accepted, duplicates, quarantined, request_id}`` only after every event and every quarantined
item is on disk. An ``Idempotency-Key`` gives the events of a request their identity, so that the
same request may be repeated until it is answered. The query (``product``, ``category``,
``service``) names the Sigma logsource of these events where the source's own does not fit.
"""

from collections.abc import Iterator

from services.ingest.doors.exchange import Answer, Decoded, Door, Outcome, Request, json_answer
from services.ingest.framing import Item, frame_json, frame_text, json_lines

__all__ = ["Native"]


class Native(Door):
    """JSON or text, as it comes."""

    name = "native"

    def decode(self, request: Request, body: bytes) -> Decoded:
        if request.media_type == "text/plain":
            return Decoded(frame_text(body, self.bounds.max_items))
        most = self.bounds.max_items
        if (lines := json_lines(body, most)) is None:
            return Decoded(frame_json(body, most))
        return Decoded(_framed(body, most), lines=lines)

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        return json_answer(
            202,
            {
                "accepted": outcome.accepted,
                "duplicates": len(outcome.known),
                "quarantined": outcome.quarantined,
                "request_id": request.id,
            },
        )


def _framed(body: bytes, most: int) -> Iterator[Item]:
    yield from frame_json(body, most)  # only if it is asked for
