"""What is handed out about evidence: the custody report of an item, an incident's manifest.

Both name event ids and log positions, so that each line can be proven against the log.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.cases.evidence.view import Document, summary

__all__ = ["custody_report", "manifest"]

ACCESSES = ("EvidenceAccessed", "EvidenceCopyAnalysed")
CHECKS = ("EvidenceIntegrityVerified", "EvidenceIntegrityFailed")


def _gaps(chain: Sequence[Document]) -> list[str]:
    """Return what is missing in a chain that ought to be whole."""
    versions = [entry["version"] for entry in chain]
    found = []
    if versions != list(range(1, len(versions) + 1)):
        found.append("versions are not contiguous")
    holder = ""
    for entry in chain:
        if entry["type"] == "EvidenceCustodyTransferred" and entry["from"] != holder:
            found.append(f"version {entry['version']}: passed on by who did not have it")
        if entry["type"] in ("EvidenceCollected", "EvidenceCustodyTransferred", "EvidenceReleased"):
            holder = entry["to"]
    return found


def custody_report(document: Document, chain: Sequence[Document], now: datetime) -> Document:
    """Return everything that is known of an item and who had it when."""
    item = document["item"]
    return {
        "format": "tocsin.custody-report/1",
        "made_at": now.isoformat(),
        "evidence_id": document["evidence_id"],
        "incident_id": item["incident_id"],
        "item": document,
        "custodian": item["custodian"],
        "accesses": sum(entry["type"] in ACCESSES for entry in chain),
        "checks": [entry for entry in chain if entry["type"] in CHECKS],
        "gaps": _gaps(chain),
        "custody": list(chain),
    }


def manifest(
    incident_id: str,
    documents: Sequence[Document],
    chains: Mapping[str, Sequence[Document]],
    now: datetime,
) -> Document:
    """Return the part of an export bundle that names every item, its digest and its chain."""
    items: list[dict[str, Any]] = []
    for document in documents:
        item, key = document["item"], document["evidence_id"]
        items.append(
            {
                "evidence_id": key,
                "state": item["state"],
                "kind": item["kind"],
                "sha256": item["sha256"],
                "size": item["size"],
                "storage_ref": item["storage_ref"],
                "copy_of": item["copy_of"],
                "file_name": item["file_name"],
                "version": document["version"],
                "frozen": item["frozen"],
                "custody": list(chains[key]),
            }
        )
    return {
        "format": "tocsin.evidence-manifest/1",
        "made_at": now.isoformat(),
        "incident_id": incident_id,
        "summary": summary(documents),
        "items": items,
    }
