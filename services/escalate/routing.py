"""Who owns an escalation and who is engaged: the routing rules of §6, as a pure function.

All rules that match apply. RT3, RT4, RT6, RT8, RT9 and RT10 need facts that nothing tells escalate
yet (actor, vulnerability, component, tenant industry, law enforcement, customer case).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.escalate.directory import Directory
from services.escalate.policy import UNKNOWN

__all__ = ["AUTO_ESCALATED", "Routing", "escalates_by_policy", "route"]

# SEV3 and SEV4 wait for the service team's own EscalateIncident (§3.8 P2).
AUTO_ESCALATED = frozenset({"SEV0", "SEV1", "SEV2"})
_WIDE = ("datacenter", "region", "multi_region")  # a tuple: people may send any JSON
_SHORT_REGIME = "critical_infrastructure_or_24h_regime"


@dataclass(frozen=True, slots=True)
class Routing:
    """Exactly one owner (R08); all engaged teams, the owner first; the rules that said so."""

    owning_team: str
    engaged: tuple[str, ...]
    rules: tuple[str, ...]


def escalates_by_policy(level: str) -> bool:
    """Tell whether an incident of this severity escalates without being told to."""
    return level in AUTO_ESCALATED


def route(
    directory: Directory,
    level: str,
    inputs: Mapping[str, object],
    services: Sequence[str],
    regions: Sequence[str],
) -> Routing:
    """Return the owner and the teams of an escalation; a missing input counts as unknown."""
    teams = directory.teams
    owner = directory.security_response(services, regions)
    engaged = [owner, *directory.teams_of(services), teams["incident_communications"]]
    rules = ["RT1"]
    # "≠ none": what is unknown is not known to be harmless, as with obligations (I7).
    if (
        inputs.get("privacy", UNKNOWN) != "none"
        or inputs.get("industry_regulation") == _SHORT_REGIME
    ):
        rules.append("RT2")
        engaged += [teams["legal"], teams["security_compliance"]]
    if inputs.get("service") == "tier0" or inputs.get("scope") in _WIDE:
        rules.append("RT5")
        engaged.append(teams["cloud_platform_security"])
    if level == "SEV0":
        rules.append("RT7")
        engaged += [teams["executive_incident_manager"], teams["duty_manager"]]
    return Routing(owner, tuple(dict.fromkeys(engaged)), tuple(rules))
