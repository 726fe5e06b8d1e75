"""Pure: what is under attack, what protects it, and where the attack may go next (R32b, R32c)."""

from collections.abc import Iterable, Sequence

from services.cases.views import Document

__all__ = ["spread"]

_DONE = ("done", "kept")


def spread(document: Document, related: Sequence[tuple[int, Document]]) -> Document:
    """Return the spread watch of an incident.

    *related* are incidents with the number of indicators and hosts that they share with it: their
    services and regions are on the watch list unless they are under attack already.
    """
    services, regions = _under_attack(document)
    return {
        "incident_id": document["incident_id"],
        "version": document["version"],
        "under_attack": {"services": sorted(services), "regions": sorted(regions)},
        "protection": [_protection(document, service) for service in sorted(services)],
        "watch": {
            "services": _watched(related, "services", services),
            "regions": _watched(related, "regions", regions),
        },
    }


def _under_attack(document: Document) -> tuple[set[str], set[str]]:
    include = (document["scope"] or {}).get("include", ())
    services = {s["service"] for s in include if s.get("service")}
    regions = {s["region"] for s in include if s.get("region")}
    return services | set(document["services"]), regions | set(document["regions"])


def _protection(document: Document, service: str) -> Document:
    actions = [a for a in document["actions"] if service in a.get("services", ())]
    return {
        "service": service,
        "actions": [
            {name: action[name] for name in ("action_id", "kind", "text", "status")}
            for action in actions
        ],
        "protected": any(a["kind"] == "protection" and a["status"] in _DONE for a in actions),
    }


def _watched(
    related: Iterable[tuple[int, Document]], name: str, affected: set[str]
) -> list[Document]:
    found: dict[str, list[Document]] = {}
    for shared, other in related:
        for value in other[name]:
            if value not in affected:
                because = {
                    "incident_id": other["incident_id"],
                    "number": other["number"],
                    "shared": shared,
                }
                found.setdefault(value, []).append(because)
    return [{"name": value, "because": because} for value, because in sorted(found.items())]
