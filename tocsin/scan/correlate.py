"""Correlations over a whole scan: what the processes matched, put in order by the events' times."""

from collections.abc import Iterator
from datetime import UTC, datetime

from services.detect.correlation.engine import Engine
from services.detect.correlation.extract import instant_of
from services.detect.correlation.plan import Plan, Step
from shared.clock import rfc3339
from tocsin.scan.work import Done

__all__ = ["Correlator", "when"]

_SECONDS = 100_000_000_000  # beyond it, a number counts milliseconds


def when(written: str | None) -> datetime | None:
    """Return the instant *written*, UTC where it names no zone; None where it is none."""
    if not written:
        return None
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        try:
            number = float(written)
            return datetime.fromtimestamp(number / 1000 if number > _SECONDS else number, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class Correlator:
    """Takes matches in any order and says, at the end, which correlations they fulfil.

    A correlation of silence needs events that go on: where a file ends, none is raised.
    """

    def __init__(self, plan: Plan) -> None:
        self._engine = Engine(plan)
        self._places: list[tuple[str, int]] = [("", 0)]

    def take(self, done: Done) -> None:
        """Take in what was matched in one part; a match's *ref* is its record there."""
        for match in done.matches:
            self._places.append((done.file, match.ref))
            self._engine.feed([match._replace(ref=len(self._places) - 1)], 0)

    def finish(self) -> Iterator[tuple[Step, str, int, str]]:
        """Yield (correlation, file and record of its last event, that event's time)."""
        firings = [firing for firing in self._engine.finish().firings if firing.evidence]
        for firing in sorted(firings, key=lambda each: (each.end, each.step.index)):
            last = max(firing.evidence, key=lambda each: each.time)
            file, record = self._places[last.ref]
            yield firing.step, file, record, rfc3339(instant_of(last.time))
