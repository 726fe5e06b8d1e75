"""What is handed out about evidence: the custody report of an item, an incident's manifest.

Both name event ids and log positions, so that each line can be proven against the log.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from services.cases.evidence.view import Document, summary

__all__ = ["certificate", "custody_report", "manifest"]

VERSION = version("tocsin")
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


def certificate(document: Document, chain: Sequence[Document], now: datetime) -> str:
    """Return the draft of a certification (FRE 902(13) and (14)) for a qualified person to sign.

    It says what the system knows; who signs it says that the system does what it says.
    """
    item = document["item"]
    collected = next(entry for entry in chain if entry["type"] == "EvidenceCollected")
    checked = [entry for entry in chain if entry["type"] in CHECKS]
    last = checked[-1] if checked else collected
    return f"""\
CERTIFICATION OF DATA (draft; Federal Rules of Evidence 902(13), 902(14))

Item                {document["evidence_id"]}
Incident            {item["incident_id"]}
Kind                {item["kind"]}
Source              {item["source_asset"]}
Acquired            {item["acquired_at"]} by {item["collector"]}
Clock of the source {item["clock_offset_ms"]} ms off UTC
Tool                {item["tool"]} {item["tool_version"]}
Method              {item["method"]}
Size                {item["size"]} bytes
SHA-256, original   {item["sha256"]}
SHA-256, copy       {item["sha256"]} (in this bundle, if it holds the bytes: the same digest)
Taken in            position {collected["position"]} of the log, {collected["recorded_at"]}
Last checked        position {last["position"]} of the log, {last["recorded_at"]}: {last["type"]}
Made by             Tocsin {VERSION}, {now.isoformat()}

Process. The system computed the SHA-256 of the bytes while it received them and took them in only
because it was the digest that had been declared. It keeps them under that digest, computes it again
before each reading and at regular intervals, and writes each reading, each check and each change of
custody into an append-only log. The log is a Merkle tree (RFC 6962) whose root is signed; this
bundle proves that the entries named above are in it and unchanged.

I am qualified to say that the process above is regular practice here, that it was followed for this
item, and that it produces an accurate result.

Name ______________________  Position ______________________

Date ______________________  Signature _____________________
"""
