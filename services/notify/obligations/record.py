"""An obligation as JSON: stored, shown, and read back."""

from collections.abc import Mapping
from typing import Any

from services.notify.obligations.conditions import Condition
from services.notify.obligations.identify import Holder, Obligation, ObligationState
from shared.clock import parse_instant, rfc3339

__all__ = ["obligation_json", "parse_obligation"]


def obligation_json(obligation: Obligation) -> dict[str, Any]:
    """Return *obligation* as it is stored and shown."""
    arguable = obligation.latest_arguable
    return {
        "regime": obligation.regime,
        "regime_version": obligation.regime_version,
        "phase": obligation.phase,
        "recipient": obligation.recipient,
        "tenant": obligation.tenant,
        "state": obligation.state.value,
        "clock": obligation.clock,
        "clock_at": rfc3339(obligation.clock_at),
        "due_at": rfc3339(obligation.due_at),
        "latest_arguable": rfc3339(arguable) if arguable else None,
        "internal_target": obligation.internal_target,
        "provisional": obligation.provisional,
        "basis": obligation.basis,
        "trigger": [
            {"what": c.what, "holds": c.holds, "because": c.because} for c in obligation.trigger
        ],
        "source": obligation.source,
        "holder": obligation.holder.value,
        "content": list(obligation.content),
        "late_reasons_required": obligation.late_reasons_required,
        "repeats": obligation.repeats,
        "tzdb": obligation.tzdb,
        "calendars": list(obligation.calendars),
    }


def parse_obligation(given: Mapping[str, Any]) -> Obligation:
    """Return the obligation that `obligation_json` wrote."""
    arguable = given["latest_arguable"]
    return Obligation(
        **{
            **given,
            "state": ObligationState(given["state"]),
            "clock_at": parse_instant(given["clock_at"]),
            "due_at": parse_instant(given["due_at"]),
            "latest_arguable": parse_instant(arguable) if arguable else None,
            "trigger": tuple(Condition(**condition) for condition in given["trigger"]),
            "holder": Holder(given.get("holder", Holder.PROVIDER)),
            "content": tuple(given.get("content", ())),
            "calendars": tuple(given.get("calendars", ())),
        }
    )
