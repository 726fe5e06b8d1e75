"""The doors and their keys, from a file that holds digests only."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from services.escalate.file_spots import Spot, read_spot, read_text

__all__ = ["KINDS", "SOURCE_KINDS", "Door", "DoorBook", "Register", "load_doors", "parse_doors"]

KINDS = ("alertmanager", "pagerduty", "mail")
SOURCE_KINDS = (
    "rule", "trend", "anomaly", "threat_intel", "customer_case", "employee_report", "partner",
    "external_researcher", "law_enforcement",
)  # fmt: skip
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SENDER = re.compile(r"([^@\s]{1,64}@)?[a-z0-9-]+(\.[a-z0-9-]+)+")


@dataclass(frozen=True, slots=True)
class Door:
    """One sender: which protocol it speaks, and what its reports are (R07)."""

    name: str
    kind: str
    source_kind: str
    tenant: str | None = None
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Register:
    """Doors by the digest of their key: the lookup itself tells nothing by its time.

    *senders*: doors of mail by the address or the domain that it verifiably comes from.
    """

    doors: Mapping[str, Door]
    senders: Mapping[str, Door] = field(default_factory=lambda: MappingProxyType({}))

    def door(self, kind: str, key: str) -> Door | None:
        """Return the door of *kind* that *key* opens."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        found = self.doors.get(digest)
        return found if found is not None and found.kind == kind else None

    def door_of(self, sender: str) -> Door | None:
        """Return the door of whoever writes from *sender*: of the address, else of its domain."""
        address = sender.lower()
        return self.senders.get(address) or self.senders.get(address.rpartition("@")[2])


@dataclass(slots=True)
class DoorBook:
    """The doors in force now; the file may change while the service runs."""

    current: Register

    def put(self, register: Register) -> None:
        """Put *register* in force."""
        self.current = register


def load_doors(path: Path | None, *, verified: bool = False) -> Register:
    """Return the doors in *path*; FileError names the line that is wrong and why."""
    if path is None:
        return Register({})
    return parse_doors(read_text(path), path.name, verified=verified)


def parse_doors(text: str, source: str = "doors", *, verified: bool = False) -> Register:
    """Return the doors in *text*; FileError names the line that is wrong and why.

    Doors by sender are for mail whose sender is *verified* by a server that we trust.
    """
    found: dict[str, Door] = {}
    senders: dict[str, Door] = {}
    for name, spot in read_spot(text, source).table(("doors",))["doors"].entries().items():
        parts = spot.table(
            ("kind", "source_kind"), ("key_sha256", "senders", "tenant", "services", "regions")
        )
        door = Door(
            name=name,
            kind=parts["kind"].one_of(KINDS),
            source_kind=parts["source_kind"].one_of(SOURCE_KINDS),
            tenant=parts["tenant"].text() if "tenant" in parts else None,
            services=_texts(parts.get("services")),
            regions=_texts(parts.get("regions")),
        )
        if (door.source_kind == "customer_case") != (door.tenant is not None):
            raise spot.refusal("a customer's door has a tenant, and no other door")
        if "senders" in parts:
            _add_senders(senders, door, parts["senders"], verified=verified)
        elif "key_sha256" not in parts:
            raise spot.refusal("key_sha256 is missing")
        if "key_sha256" in parts:
            _add_key(found, door, parts["key_sha256"])
    return Register(MappingProxyType(found), MappingProxyType(senders))


def _add_key(found: dict[str, Door], door: Door, spot: Spot) -> None:
    digest = spot.text()
    if not _DIGEST.fullmatch(digest):
        raise spot.refusal("is no SHA-256 in small hexadecimal digits")
    if digest in found:
        raise spot.refusal(f"is the key of {found[digest].name} already")
    found[digest] = door


def _add_senders(senders: dict[str, Door], door: Door, spot: Spot, *, verified: bool) -> None:
    if door.kind != "mail":
        raise spot.refusal("only mail has senders")
    if not verified:
        raise spot.refusal("needs TOCSIN_ESCALATE_MAIL_AUTHSERV_ID: anybody can write any sender")
    for entry in spot.texts():
        sender = entry.text().lower()
        if not _SENDER.fullmatch(sender):
            raise entry.refusal(f"{sender!r} is neither an address nor a domain")
        if sender in senders:
            raise entry.refusal(f"is a sender of {senders[sender].name} already")
        senders[sender] = door


def _texts(spot: Spot | None) -> tuple[str, ...]:
    return tuple(entry.text() for entry in spot.texts()) if spot is not None else ()
