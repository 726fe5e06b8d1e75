"""What became of an incident's indicators: the record from which accuracy is counted (§3.6)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from services.cases.domain.accuracy import Counts, Group, Measured, advise, grouped
from services.cases.domain.vocabulary import AttackVector, Classification, IndicatorVerdict
from services.cases.views import Document
from services.cases.views.assets import asset_ids

__all__ = ["OUTCOMES", "analysis", "outcomes"]

TRUE, BENIGN, FALSE = "true_positive", "benign_positive", "false_positive"
OUTCOMES = (TRUE, BENIGN, FALSE)


def outcomes(document: Document) -> Iterator[tuple[UUID, str, str | None]]:
    """Yield each indicator and asset of an incident, with vector and outcome, if decided."""
    rows = document["indicators"]
    for row in rows:
        yield UUID(row["indicator_id"]), row["attack_vector"], _outcome(document["verdict"], row)
    # Hosts in scope relate incidents as indicators do, but say nothing of any one's accuracy.
    for key in sorted(asset_ids(document) - {UUID(r["indicator_id"]) for r in rows}):
        yield key, AttackVector.UNKNOWN.value, None


def _outcome(verdict: Document | None, row: Mapping[str, Any]) -> str | None:
    """Return how an indicator turned out: right where the v-team held it to support a verdict.

    One that is not assessed in a confirmed incident says nothing about itself.
    """
    if verdict is None:
        return None
    if verdict["outcome"] == "confirmed":
        assessed = row["assessment"]
        supports = assessed and assessed["verdict"] == IndicatorVerdict.SUPPORTS.value
        return TRUE if supports else None
    return {
        Classification.FALSE_POSITIVE.value: FALSE,
        Classification.BENIGN_POSITIVE.value: BENIGN,
    }.get(verdict["classification"])


def analysis(document: Document, record: Mapping[tuple[UUID, str], Counts]) -> Document:
    """Return an incident's indicators by attack vector, with their *record* elsewhere (R28)."""
    techniques = {row["indicator_id"]: row["techniques"] for row in document["indicators"]}
    groups = grouped(
        Measured(
            indicator_id=(key := UUID(row["indicator_id"])),
            type=row["type"],
            value=row["value"],
            vector=row["attack_vector"],
            counts=record.get((key, row["attack_vector"]), Counts()),
        )
        for row in document["indicators"]
    )
    return {
        "incident_id": document["incident_id"],
        "version": document["version"],
        "advice": advise(groups).value,
        "recommendation": advise(groups).text,
        "groups": [_group(group, techniques) for group in groups],
    }


def _group(group: Group, techniques: Mapping[str, Sequence[str]]) -> Document:
    named = {t for x in group.indicators for t in techniques[str(x.indicator_id)]}
    return {
        "attack_vector": group.vector,
        "count": len(group.indicators),
        "attack_techniques": sorted(named),
        **_counted(group.counts),
        "advice": group.advice.value,
        "recommendation": group.advice.text,
        "indicators": [
            {
                "indicator_id": str(x.indicator_id),
                "type": x.type,
                "value": x.value,
                "attack_techniques": list(techniques[str(x.indicator_id)]),
                **_counted(x.counts),
            }
            for x in group.indicators
        ],
    }


def _counted(counts: Counts) -> Document:
    precision = counts.precision
    return {
        "true_positives": counts.true_positives,
        "benign_positives": counts.benign_positives,
        "false_positives": counts.false_positives,
        "precision": None if precision is None else round(precision, 4),
        "wilson_lower_bound": round(counts.bound, 4),
    }
