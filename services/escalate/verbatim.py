"""Which detections a message carries, and how they are kept small enough for the broker (§2.2)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from services.escalate.risk import WEIGHTS
from shared.contracts.detect import DetectionRaisedV1, Level

__all__ = ["MOST_DETECTIONS", "fitted", "most_telling"]

MOST_DETECTIONS = 20
# A message has at most 1 MiB; the rest of a proposal takes less than 128 KiB.
BUDGET = 768 * 1024
_EACH = BUDGET // MOST_DETECTIONS


class Ranked(Protocol):
    """What the choice looks at."""

    @property
    def detection_id(self) -> UUID: ...
    @property
    def rule_id(self) -> str: ...
    @property
    def level(self) -> Level: ...
    @property
    def first_seen(self) -> datetime: ...


T = TypeVar("T", bound=Ranked)


def most_telling(detections: Iterable[T]) -> list[T]:
    """Return at most 20: one of every rule first, by weight, then the earliest."""
    ordered = sorted(
        detections, key=lambda d: (-WEIGHTS[d.level], d.first_seen, str(d.detection_id))
    )
    seen: dict[str, int] = {}
    ranked = []
    for index, detection in enumerate(ordered):
        repeat = seen[detection.rule_id] = seen.get(detection.rule_id, -1) + 1
        ranked.append((repeat, index, detection))
    return [d for _, _, d in sorted(ranked, key=lambda r: r[:2])[:MOST_DETECTIONS]]


def fitted(detections: Sequence[DetectionRaisedV1]) -> list[DetectionRaisedV1]:
    """Return *detections* with samples and reasons cut where they are too large for one message.

    What was cut is marked (``truncated``) and stays whole with detect. A detection that is still
    too large is left out, as the count is complete in any case.
    """
    if sum(map(_size, detections)) <= BUDGET:
        return list(detections)
    found = (_cut(detection) for detection in detections)
    return [detection for detection in found if detection is not None]


def _cut(detection: DetectionRaisedV1) -> DetectionRaisedV1 | None:
    if _size(detection) <= _EACH:
        return detection
    for chars, reasons in ((8192, 20), (1024, 5), (0, 0)):
        samples = [
            sample.model_copy(
                update={
                    "raw": sample.raw[:chars],
                    "truncated": sample.truncated or len(sample.raw) > chars,
                }
            )
            for sample in detection.samples[: 1 if chars else 0]
        ]
        smaller = detection.model_copy(
            update={
                "samples": samples,
                "reasons": [
                    r.model_copy(update={"value": r.value[:256], "pattern": r.pattern[:256]})
                    for r in detection.reasons[:reasons]
                ],
                "event_ids": detection.event_ids[:100],
            }
        )
        if _size(smaller) <= _EACH:
            return smaller
    return None


def _size(detection: DetectionRaisedV1) -> int:
    return len(detection.to_json())
