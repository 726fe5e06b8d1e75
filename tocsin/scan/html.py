"""The report of a scan as one HTML file: timeline, ATT&CK matrix, rules, hits. No scripts."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jinja2 import Environment

from services.detect.correlation.model import Correlation
from services.detect.rules.model import Level, Rule
from tocsin.scan.run import Found, Summary

__all__ = ["Report"]

MAX_HITS = 2_000
_BARS = 60
_LEVELS = tuple(map(str, reversed(Level)))
_TACTICS = (
    "reconnaissance", "resource-development", "initial-access", "execution", "persistence",
    "privilege-escalation", "stealth", "defense-impairment", "defense-evasion",
    "credential-access", "discovery", "lateral-movement", "collection", "command-and-control",
    "exfiltration", "impact",
)  # fmt: skip
_TECHNIQUE = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)
_TEMPLATE = Path(__file__).with_name("report.html.j2")


class Report:
    """Hits as they come, counted; the first MAX_HITS of them in full."""

    def __init__(self) -> None:
        self._hits: list[Found] = []
        self._rules: Counter[str] = Counter()
        self._by_id: dict[str, Rule | Correlation] = {}
        self._times: dict[str, list[datetime]] = defaultdict(list)
        self._untimed = 0

    def add(self, found: Found) -> None:
        """Take one hit."""
        self._rules[found.rule.id] += 1
        self._by_id[found.rule.id] = found.rule
        when = _instant(found.time)
        if when is None:
            self._untimed += 1
        else:
            self._times[str(found.rule.level)].append(when)
        if len(self._hits) < MAX_HITS:
            self._hits.append(found)

    def render(self, summary: Summary, now: datetime) -> str:
        """Return the report."""
        order = sorted(
            self._rules.items(),
            key=lambda pair: (_LEVELS.index(str(self._by_id[pair[0]].level)), -pair[1]),
        )
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
        return template.render(
            summary=summary,
            now=now,
            levels=[(level, self._of_level(level)) for level in _LEVELS],
            timeline=self._timeline(),
            untimed=self._untimed,
            matrix=self._matrix(),
            rules=[(self._by_id[rule_id], count) for rule_id, count in order],
            hits=self._hits,
            left_out=sum(self._rules.values()) - len(self._hits),
        )

    def _of_level(self, level: str) -> int:
        return sum(n for rule_id, n in self._rules.items() if self._by_id[rule_id].level == level)

    def _timeline(self) -> Mapping[str, object] | None:
        """Return bars of hits over time, each of one piece a level."""
        times = [when for found in self._times.values() for when in found]
        if not times:
            return None
        first, last = min(times), max(times)
        width = max((last - first) / _BARS, timedelta(milliseconds=1))
        counts: list[Counter[str]] = [Counter() for _ in range(_BARS)]
        for level, found in self._times.items():
            for when in found:
                counts[min(_BARS - 1, int((when - first) / width))][level] += 1
        tallest = max(sum(count.values()) for count in counts)
        bars = []
        for at, count in enumerate(counts):
            pieces, top = [], 0.0
            for level in reversed(_LEVELS):
                height = 100 * count[level] / tallest
                if height:
                    top += height
                    pieces.append((level, round(100 - top, 2), round(height, 2)))
            if pieces:
                bars.append((at, first + at * width, sum(count.values()), pieces))
        return {"first": first, "last": last, "tallest": tallest, "bars": bars, "width": _BARS}

    def _matrix(self) -> list[tuple[str, list[tuple[str, int, str]]]]:
        """Return for each tactic its techniques, with hits and the highest level."""
        cells: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        for rule_id, count in self._rules.items():
            rule = self._by_id[rule_id]
            tags = {tag.lower() for tag in rule.tags}
            techniques = sorted(m[1].upper() for tag in tags if (m := _TECHNIQUE.fullmatch(tag)))
            tactics = [
                t for t in _TACTICS if {f"attack.{t}", f"attack.{t.replace('-', '_')}"} & tags
            ]
            rank = _LEVELS.index(str(rule.level))
            for tactic in tactics or ["other"] if techniques else []:
                for technique in techniques:
                    hits, highest = cells[tactic].get(technique, (0, len(_LEVELS)))
                    cells[tactic][technique] = hits + count, min(highest, rank)
        return [
            (
                tactic.replace("-", " "),
                [(t, hits, _LEVELS[rank]) for t, (hits, rank) in sorted(cells[tactic].items())],
            )
            for tactic in (*_TACTICS, "other")
            if tactic in cells
        ]


def _instant(text: str | None) -> datetime | None:
    """Return what *text* says, as UTC where it names no zone; None for what is no date."""
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return _epoch(text)
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _epoch(text: str) -> datetime | None:
    try:
        number = float(text)
        return datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None
