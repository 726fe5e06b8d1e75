"""Correlation's metrics, and their way from the process that counts into the service's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge

__all__ = ["Sample", "Taken", "counts", "fired", "groups", "lost", "samples", "updates"]

updates = Counter("tocsin_detect_correlation_matches_total", "Matches given to correlations")
fired = Counter("tocsin_detect_correlation_firings_total", "Correlations that held", ["rule"])
counts = Counter(
    "tocsin_detect_correlation_events_total",
    "What became of events that did not simply count: late, evicted_groups, duplicates, …",
    ["rule", "what"],
)
groups = Gauge("tocsin_detect_correlation_groups", "Groups alive", ["partition"])
lost = Counter("tocsin_detect_correlation_lost_total", "Messages gone before they were read")

_METRICS: Mapping[str, Counter | Gauge] = {
    "updates": updates, "fired": fired, "counts": counts, "groups": groups, "lost": lost,
}  # fmt: skip

Sample = tuple[str, tuple[tuple[str, str], ...], float]
"""Which metric, its labels, its value since the process began."""


def samples() -> list[Sample]:
    """Return the values of this process."""
    return [
        (name, tuple(sample.labels.items()), sample.value)
        for name, metric in _METRICS.items()
        for family in metric.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


@dataclass(slots=True)
class Taken:
    """What one other process has told so far: of counters only what came to it since is added."""

    _known: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def take(self, told: Iterable[Sample]) -> None:
        """Have the metrics of this process show what is in *told*."""
        for name, labels, value in told:
            found = _METRICS[name]
            metric = found.labels(**dict(labels)) if labels else found
            if isinstance(metric, Gauge):
                metric.set(value)
            else:
                metric.inc(value - self._known.get((name, labels), 0.0))
                self._known[name, labels] = value

    def forget(self) -> None:
        """The process has ended, and its groups are alive elsewhere or nowhere."""
        groups.clear()
