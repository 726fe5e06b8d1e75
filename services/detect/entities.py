"""Whom an event is about: hosts, users, addresses and accounts, under the names that logs use."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.contracts.detect import Entity

__all__ = ["entities_of"]

# Each kind: the fields that hold it, the most telling first; only the first hit counts.
_FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("host", (
        "Hostname", "Computer", "ComputerName", "host.name", "host.hostname", "hostname", "host",
        "agent.hostname", "server", "instance_id",
    )),
    ("user", (
        "TargetUserName", "User", "SubjectUserName", "user.name", "userIdentity.userName",
        "userIdentity.arn", "actor.alternateId", "initiatedBy.user.userPrincipalName",
        "userPrincipalName", "actor.id", "actor", "username", "user",
    )),
    ("ip", (
        "IpAddress", "SourceIp", "source.ip", "sourceIPAddress", "client_ip", "src_ip",
        "clientAddress", "ipAddress", "remote_addr", "c-ip", "ip",
    )),
    ("account", ("recipientAccountId", "userIdentity.accountId", "account_id", "subscriptionId")),
)  # fmt: skip
_NOBODY = frozenset({"", "-", "n/a", "none", "null", "unknown", "::1", "127.0.0.1", "localhost"})
_LONGEST = 256


def entities_of(event: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Entity]:
    """Return the entities of *event*, of each kind at most one; *labels* are the envelope's."""
    found = []
    for kind, names in _FIELDS:
        value = _first(event, names)
        if value is None and kind == "host":
            value = _text(labels.get("server"))
        if value is not None:
            found.append(Entity(type=kind, value=value))
    if service := _text(labels.get("service")):
        found.append(Entity(type="service", value=service))
    return found


def _first(event: Mapping[str, Any], names: Iterable[str]) -> str | None:
    for name in names:
        if (value := _text(_look_up(event, name))) is not None:
            return value
    return None


def _look_up(event: Mapping[str, Any], path: str) -> Any:
    if path in event:
        return event[path]
    node: Any = event
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or value.strip().lower() in _NOBODY:
        return None
    return value.strip()[:_LONGEST]
