"""A block into what it holds: detections, and matches for correlations. Pure but for the clock."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.detect.correlation.extract import microseconds
from services.detect.correlation.firing import Matched
from services.detect.correlation.messages import spread
from services.detect.detection import detection_of, event_of
from services.detect.in_force import InForce
from shared.cloudevents import Outgoing
from shared.contracts.base import ContractError
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.ingest import Envelope, decode_block

__all__ = ["Evaluated", "block_id_in", "evaluate", "evaluate_block", "packed"]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a block holds, by the rules of *signature*.

    *envelopes* are those of events that correlations count, by the index that their matches call
    *ref*; *messages* are both, packed for who counts them. *sources*: how many events of each.
    """

    signature: str
    events: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    detections: list[DetectionRaisedV1] = field(default_factory=list)
    matches: list[Matched] = field(default_factory=list)
    envelopes: dict[int, Envelope] = field(default_factory=dict)
    messages: list[Outgoing] = field(default_factory=list)


def block_id_in(headers: Mapping[str, str]) -> UUID:
    """Return the id of the block with *headers*; ContractError where it has none."""
    try:
        return UUID(headers["ce-id"])
    except (KeyError, ValueError) as error:
        raise ContractError("a block needs a UUID in ce-id") from error


def evaluate_block(
    rules: InForce, headers: Mapping[str, str], body: bytes, now: datetime
) -> Evaluated:
    """Return what *rules* find in a block; ContractError where it is none."""
    return evaluate(rules, decode_block(headers, body), now)


def evaluate(rules: InForce, envelopes: list[Envelope], now: datetime) -> Evaluated:
    """Return what *rules* find in *envelopes*."""
    sources = Counter(str(envelope["source_id"]) for envelope in envelopes)
    found = Evaluated(rules.signature, len(envelopes), sources)
    for index, envelope in enumerate(envelopes):
        event = event_of(envelope)
        for match in rules.matcher.match(event):
            rule_id = match.rule.id
            if rule_id not in rules.plan.silent:
                found.detections.append(detection_of(match, envelope, now))
            counted = list(rules.extractor.matches(rule_id, event, envelope, index))
            if counted:
                found.matches.extend(counted)
                found.envelopes[index] = envelope
    return found


def packed(
    rules: InForce, found: Evaluated, block_id: UUID, partitions: int, now: datetime
) -> Evaluated:
    """Return *found* with its matches as messages: the service only passes them on."""
    if not found.matches:
        return found
    at = microseconds(now)
    messages = spread(rules.plan, found.matches, found.envelopes, partitions, block_id, at)
    return replace(found, matches=[], envelopes={}, messages=list(messages))
