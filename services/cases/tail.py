"""The end of the CASES stream: which event of the log is there, and under which sequence number."""

from dataclasses import dataclass
from urllib.parse import unquote

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared.bus import Bus, BusUnavailableError

__all__ = ["REACHED", "ForeignTailError", "Tail", "tail_of"]

REACHED = "tocsin-reached"


class ForeignTailError(Exception):
    """The stream's last message is not where this log could have put it: a person has to look."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last message: position and id of its event (0 and None if empty), and its sequence."""

    position: int
    message_id: str | None
    sequence: int


async def tail_of(bus: Bus, stream: str) -> Tail:
    """Return the end of *stream*.

    BusUnavailableError when the broker does not tell, ForeignTailError when it is not of this log.
    """
    try:
        js: JetStreamContext = bus.jetstream()
        state = (await js.stream_info(stream)).state
        if not state.messages:
            return Tail(0, None, state.last_seq)
        message = await js.get_msg(stream, state.last_seq)
    except NotFoundError as error:
        raise BusUnavailableError(f"{stream} has no tail to go on from: {error}") from error
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise BusUnavailableError(f"{stream} does not answer: {error!r}") from error
    headers = message.headers or {}
    # A message that was lost and published again stands late, and says how far the stream was.
    position = headers.get(REACHED, headers.get("ce-position"))
    message_id = headers.get("Nats-Msg-Id")
    if position is None or message_id is None:
        raise ForeignTailError(f"message {state.last_seq} of {stream} has no position or id")
    return Tail(int(unquote(position)), message_id, state.last_seq)
