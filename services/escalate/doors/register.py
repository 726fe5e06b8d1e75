"""The doors and their keys, from a file that holds digests only."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
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
    """Doors by the digest of their key: the lookup itself tells nothing by its time."""

    doors: Mapping[str, Door]

    def door(self, kind: str, key: str) -> Door | None:
        """Return the door of *kind* that *key* opens."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        found = self.doors.get(digest)
        return found if found is not None and found.kind == kind else None


@dataclass(slots=True)
class DoorBook:
    """The doors in force now; the file may change while the service runs."""

    current: Register

    def put(self, register: Register) -> None:
        """Put *register* in force."""
        self.current = register


def load_doors(path: Path | None) -> Register:
    """Return the doors in *path*; FileError names the line that is wrong and why."""
    return Register({}) if path is None else parse_doors(read_text(path), path.name)


def parse_doors(text: str, source: str = "doors") -> Register:
    """Return the doors in *text*; FileError names the line that is wrong and why."""
    found: dict[str, Door] = {}
    for name, spot in read_spot(text, source).table(("doors",))["doors"].entries().items():
        parts = spot.table(("kind", "key_sha256", "source_kind"), ("tenant", "services", "regions"))
        digest = parts["key_sha256"].text()
        if not _DIGEST.fullmatch(digest):
            raise parts["key_sha256"].refusal("is no SHA-256 in small hexadecimal digits")
        if digest in found:
            raise parts["key_sha256"].refusal(f"is the key of {found[digest].name} already")
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
        found[digest] = door
    return Register(MappingProxyType(found))


def _texts(spot: Spot | None) -> tuple[str, ...]:
    return tuple(entry.text() for entry in spot.texts()) if spot is not None else ()
