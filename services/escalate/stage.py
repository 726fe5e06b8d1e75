"""How far the observed activity has got, told by the ATT&CK tactics of the rules that fired."""

from collections.abc import Collection, Mapping

__all__ = ["CREDENTIALS", "DATA", "IMPACT", "STAGES", "stage_of"]

STAGES = ("prepare", "engage", "presence", "effect")

# ATT&CK tactics by stage of NCISS' "observed activity" (§2.1 details, §2.3). Who executes, hides or
# looks around is inside already; only gaining access is not yet being there.
_STAGE: Mapping[str, str] = {
    "reconnaissance": "prepare",
    "resource-development": "prepare",
    "initial-access": "engage",
    "execution": "presence",
    "persistence": "presence",
    "privilege-escalation": "presence",
    "defense-evasion": "presence",
    "stealth": "presence",
    "defense-impairment": "presence",
    "credential-access": "presence",
    "discovery": "presence",
    "lateral-movement": "presence",
    "collection": "presence",
    "command-and-control": "presence",
    "exfiltration": "effect",
    "impact": "effect",
}
CREDENTIALS = frozenset({"credential-access"})
DATA = frozenset({"collection", "exfiltration"})
IMPACT = frozenset({"impact"})


def stage_of(tactics: Collection[str]) -> str | None:
    """Return the most advanced stage that *tactics* name; None if they name none."""
    found = [_STAGE[tactic] for tactic in tactics if tactic in _STAGE]
    return max(found, key=STAGES.index, default=None)
