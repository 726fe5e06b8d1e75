"""Checks what Tocsin's log proves, without Tocsin: the standard library and `cryptography` only.

This file is self-contained on purpose: every exported bundle carries a copy of it, and

    python verify.py bundle.zip [--key 'origin+keyid+key']

needs no network and no database. Exit code 0: intact, 2: tampered with, 3: incomplete.
"""

import base64
import binascii
import hashlib
import json
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = [
    "BUNDLE_FORMAT", "EMPTY_ROOT", "Checkpoint", "IncompleteError", "TamperedError", "VerifyKey",
    "leaf_hash", "node_hash", "open_note", "parse_checkpoint", "statement_text", "verify_bundle",
    "verify_consistency", "verify_inclusion",
]  # fmt: skip

BUNDLE_FORMAT = "tocsin-bundle/1"
EMPTY_ROOT = hashlib.sha256(b"").digest()
ED25519 = b"\x01"  # the algorithm's number in C2SP signed-note
MAX_FILE = 1 << 30  # of a bundle, unpacked: a zip bomb ends here


class TamperedError(Exception):
    """It is not what was signed; ``position`` is the first that is wrong, if known."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class IncompleteError(Exception):
    """Something that is needed for a judgement is missing."""


# --- the tree (RFC 6962, verified as in RFC 9162 §2.1.3.2 and §2.1.4.2) ---


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Tell whether *path* proves that *leaf* is number *index* of the tree with this *root*."""
    if not 0 <= index < size:
        return False
    number, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            digest = node_hash(sibling, digest)
            while number and not number & 1:
                number >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, sibling)
        number >>= 1
        last >>= 1
    return last == 0 and digest == root


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Tell whether *path* proves that the second tree is the first one with leaves added."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    hashes = list(path)
    if first & (first - 1) == 0:  # the old root is a node of the new tree
        hashes.insert(0, first_root)
    if not hashes:
        return False
    number, last = first - 1, second - 1
    while number & 1:
        number >>= 1
        last >>= 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while number and not number & 1:
                number >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        number >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root


# --- signed notes (https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint) ---


@dataclass(frozen=True)
class VerifyKey:
    """A public key with its name, as people hand it on: ``name+id+key``."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        named = self.name.encode() + b"\n" + ED25519 + self.public
        return hashlib.sha256(named).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> "VerifyKey":
        """Return the key that *text* names; ValueError when it names none."""
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise ValueError("a key reads name+id+base64") from error
        key = cls(name, raw[1:])
        if raw[:1] != ED25519 or len(raw) != 33 or key.id.hex() != key_id:
            raise ValueError("that is no Ed25519 key, or its id is not its own")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"


def open_note(note: str, key: VerifyKey) -> str:
    """Return the signed text of *note*; TamperedError unless *key* has signed it."""
    text, parted, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not parted or lines[-1] or not lines[:-1]:
        raise TamperedError("a note without signature")
    text += "\n"
    found = False
    for line in lines[:-1]:
        try:
            dash, name, encoded = line.split(" ")
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise TamperedError("a note with a line that is no signature") from error
        if dash != "—" or base64.b64encode(raw).decode() != encoded:
            raise TamperedError("a note with a line that is no signature")
        if name != key.name or raw[:4] != key.id:
            continue  # another key's, which we do not know: it counts for nothing
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], text.encode())
        except InvalidSignature as error:
            raise TamperedError("a note whose signature is wrong") from error
        found = True
    if not found:
        raise TamperedError(f"a note that {key.name} ({key.id.hex()}) has not signed")
    return text


@dataclass(frozen=True)
class Checkpoint:
    """What the log's operator signed: the root over the first ``size`` events."""

    origin: str
    size: int
    root: bytes
    previous: int
    """Size of the checkpoint before this one, so that none can be taken out unnoticed."""

    def text(self) -> str:
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\nprevious {self.previous}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is; TamperedError when it is none."""
    try:
        origin, size, root, previous, rest = text.split("\n")
        found = Checkpoint(
            origin,
            int(size),
            base64.b64decode(root, validate=True),
            int(previous.removeprefix("previous ")),
        )
    except (ValueError, binascii.Error) as error:
        raise TamperedError("a note that is no checkpoint") from error
    if rest or found.text() != text or len(found.root) != 32:
        raise TamperedError("a note that is no checkpoint")
    return found


# --- bundles ---


def statement_text(
    origin: str, incident: str, version: int, size: int, root: bytes, events: bytes
) -> str:
    """Return what is signed of a bundle: these are all events that the incident had at *size*."""
    digest = hashlib.sha256(events).hexdigest()
    return (
        f"{BUNDLE_FORMAT} {origin}\nincident {incident}\nversion {version}\n"
        f"size {size}\nroot {base64.b64encode(root).decode()}\nevents sha256 {digest}\n"
    )


def _read(bundle: zipfile.ZipFile, name: str) -> bytes:
    try:
        if bundle.getinfo(name).file_size > MAX_FILE:
            raise TamperedError(f"{name} is larger than any that was exported")
        return bundle.read(name)
    except KeyError as error:
        raise IncompleteError(f"the bundle has no {name}") from error
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError) as error:
        raise TamperedError(f"{name} cannot be unpacked: {error}") from error


def verify_bundle(path: Path, key: VerifyKey | None = None) -> str:
    """Check a bundle; return a sentence. TamperedError or IncompleteError say what is wrong.

    Without *key* the bundle's own is taken: then somebody has to compare its id with the one that
    the operator has published.
    """
    try:
        bundle = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise TamperedError(f"{path.name} is no zip file: {error}") from error
    with bundle:
        try:
            return _verify_open(bundle, key)
        except UnicodeDecodeError as error:
            raise TamperedError("a file of the bundle is not UTF-8") from error


def _verify_open(bundle: zipfile.ZipFile, key: VerifyKey | None) -> str:
    try:
        own = VerifyKey.parse(_read(bundle, "key.txt").decode())
    except ValueError as error:
        raise TamperedError(f"key.txt: {error}") from error
    if key is not None and own != key:
        raise TamperedError(f"the bundle's key {own.id.hex()} is not the one given")
    checkpoint = parse_checkpoint(open_note(_read(bundle, "checkpoint.txt").decode(), own))
    if checkpoint.origin != own.name:
        raise TamperedError(f"a checkpoint of {checkpoint.origin}, not of {own.name}")
    raw = _read(bundle, "events.jsonl")
    lines = raw.split(b"\n")
    if lines.pop():
        raise IncompleteError("events.jsonl ends in the middle of an event")
    incident = _verify_events(lines, _proofs(bundle, len(lines)), checkpoint)
    said = open_note(_read(bundle, "statement.txt").decode(), own)
    if said != statement_text(
        checkpoint.origin, incident, len(lines), checkpoint.size, checkpoint.root, raw
    ):
        raise TamperedError("the events are not all those that the statement was signed for")
    whose = "the key given" if key else f"the bundle's own key {own.id.hex()}; compare it"
    return (
        f"incident {incident}: {len(lines)} events are in the log of {checkpoint.origin} at size"
        f" {checkpoint.size}, signed by {whose}"
    )


def _proofs(bundle: zipfile.ZipFile, count: int) -> list[list[bytes]]:
    try:
        proofs = [
            [base64.b64decode(node, validate=True) for node in path]
            for path in json.loads(_read(bundle, "proofs.json"))
        ]
    except (ValueError, TypeError) as error:
        raise TamperedError("proofs.json is no list of proofs") from error
    if len(proofs) != count:
        raise IncompleteError(f"{count} events, but {len(proofs)} proofs")
    return proofs


def _verify_events(
    lines: Sequence[bytes], proofs: Sequence[Sequence[bytes]], checkpoint: Checkpoint
) -> str:
    """Check each event's proof and their order; return the incident's id."""
    if not lines:
        raise IncompleteError("the bundle has no events")
    incident = None
    for version, (line, path) in enumerate(zip(lines, proofs, strict=True), start=1):
        try:
            event = json.loads(line)
            position, stream = int(event["position"]), str(event["stream_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise TamperedError(f"line {version} of events.jsonl is no event") from error
        if not verify_inclusion(
            leaf_hash(line), position - 1, checkpoint.size, path, checkpoint.root
        ):
            raise TamperedError(f"the event at position {position} was altered", position)
        if incident not in (None, stream):
            raise TamperedError(f"position {position} is another incident's", position)
        if event["version"] != version:
            raise IncompleteError(f"version {version} is missing before position {position}")
        incident = stream
    return str(incident)


def main(arguments: Sequence[str]) -> int:
    """Check the bundle that the command line names."""
    try:
        key = VerifyKey.parse(arguments[2]) if arguments[1:2] == ["--key"] else None
        print(f"intact: {verify_bundle(Path(arguments[0]), key)}")  # noqa: T201 - a command
    except TamperedError as error:
        print(f"TAMPERED: {error}")  # noqa: T201 - a command
        return 2
    except (IncompleteError, IndexError, OSError, ValueError) as error:
        print(f"incomplete: {error}")  # noqa: T201 - a command
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
