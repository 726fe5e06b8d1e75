"""Checks what Tocsin's log proves, without Tocsin: the standard library and `cryptography` only.

This file is self-contained on purpose: every exported bundle carries a copy of it, and

    python verify.py bundle.zip [--key 'origin+keyid+key']

needs no network and no database. Exit code 0: intact, 2: tampered with, 3: incomplete.
"""

import base64
import binascii
import bisect
import hashlib
import itertools
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = [
    "BUNDLE_FORMAT", "EMPTY_ROOT", "Checkpoint", "Handover", "IncompleteError", "KeyRing",
    "Statement", "TamperedError", "VerifyKey", "leaf_hash", "node_hash", "open_note",
    "opened_boxes", "parse_checkpoint", "parse_statement", "ring_of", "verify_bundle",
    "verify_consistency", "verify_inclusion",
]  # fmt: skip

BUNDLE_FORMAT = "tocsin-bundle/2"
HANDOVER_FORMAT = "tocsin-log-key/1"
EMPTY_ROOT = hashlib.sha256(b"").digest()
ED25519 = b"\x01"  # the algorithm's number in C2SP signed-note
MAX_FILE = 1 << 30  # of what is read whole, unpacked: a zip bomb ends here
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)
_OWN_PROOF = frozenset({"key.txt", "checkpoint.txt", "statement.txt", "handovers.json"})
_EVIDENCE = re.compile(r"evidence/([0-9a-f-]{36})\.bin")


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


# --- keys that were handed over ---


@dataclass(frozen=True)
class Handover:
    """The log's key up to ``size``, and the one after it. The note is signed by both."""

    origin: str
    size: int
    old: VerifyKey
    new: VerifyKey

    def text(self) -> str:
        head = f"{HANDOVER_FORMAT} {self.origin}\nuntil {self.size}\n"
        return f"{head}from {self.old}\nto {self.new}\n"


def _handover(note: str) -> Handover:
    text = note.rpartition("\n\n")[0] + "\n"
    try:
        head, size, old, new, _ = text.split("\n")
        found = Handover(
            head.removeprefix(f"{HANDOVER_FORMAT} "),
            int(size.removeprefix("until ")),
            VerifyKey.parse(old.removeprefix("from ")),
            VerifyKey.parse(new.removeprefix("to ")),
        )
    except ValueError as error:
        raise TamperedError("a note that is no handover of a key") from error
    names = {found.origin, found.old.name, found.new.name}
    if found.text() != text or len(names) != 1 or found.size < 0:
        raise TamperedError("a note that is no handover of a key")
    for key in (found.old, found.new):
        open_note(note, key)
    return found


@dataclass(frozen=True)
class KeyRing:
    """The keys of a log, the oldest first, and the size up to which each but the last signed."""

    keys: tuple[VerifyKey, ...]
    ends: tuple[int, ...] = ()

    def open_checkpoint(self, note: str) -> Checkpoint:
        """Return the checkpoint in *note*; TamperedError unless the key of its size signed it."""
        told = parse_checkpoint(note.rpartition("\n\n")[0] + "\n")
        key = self.keys[bisect.bisect_left(self.ends, told.size)]
        return parse_checkpoint(open_note(note, key))


def ring_of(key: VerifyKey, notes: Sequence[str]) -> KeyRing:
    """Return the keys of a log of whose keys *key* is one; *notes* are its handovers in order.

    TamperedError when they are no chain, or *key* is not in it.
    """
    chain = [_handover(note) for note in notes]
    for one, next_ in itertools.pairwise(chain):
        if one.new != next_.old or one.size > next_.size:
            raise TamperedError("the handovers of the log's keys are no chain")
    keys = (chain[0].old, *(each.new for each in chain)) if chain else (key,)
    if key not in keys:
        raise TamperedError(f"the key {key.id.hex()} is none of those that signed this log")
    return KeyRing(keys, tuple(each.size for each in chain))


# --- bundles ---


@dataclass(frozen=True)
class Statement:
    """What is signed of a bundle: all events of these streams at ``size``, and these files."""

    origin: str
    incident: str
    size: int
    root: bytes
    streams: tuple[tuple[str, int], ...]
    """Stream and how many events it had; the incident's own is the first."""
    files: tuple[tuple[str, int, str], ...]
    """Name, bytes and SHA-256 of every other file but the checkpoint and the key."""

    def text(self) -> str:
        return "".join(
            [
                f"{BUNDLE_FORMAT} {self.origin}\nincident {self.incident}\nsize {self.size}\n",
                f"root {base64.b64encode(self.root).decode()}\n",
                *(f"stream {stream} {count}\n" for stream, count in self.streams),
                *(f"file {name} {size} {sha256}\n" for name, size, sha256 in self.files),
            ]
        )


def parse_statement(text: str) -> Statement:
    """Return the statement that a note's text is; TamperedError when it is none."""
    try:
        head, incident, size, root, *rest = text.removesuffix("\n").split("\n")
        split = [line.split(" ") for line in rest]
        found = Statement(
            head.removeprefix(f"{BUNDLE_FORMAT} "),
            incident.removeprefix("incident "),
            int(size.removeprefix("size ")),
            base64.b64decode(root.removeprefix("root "), validate=True),
            tuple((s[1], int(s[2])) for s in split if s[0] == "stream"),
            tuple((s[1], int(s[2]), s[3]) for s in split if s[0] == "file"),
        )
    except (ValueError, IndexError, binascii.Error) as error:
        raise TamperedError("a note that is no statement of a bundle") from error
    if found.text() != text or not found.streams or found.streams[0][0] != found.incident:
        raise TamperedError("a note that is no statement of a bundle")
    return found


def _read(bundle: zipfile.ZipFile, name: str) -> bytes:
    """Return a file of the bundle. Nothing is ever unpacked: a name in it is never a path."""
    try:
        if bundle.getinfo(name).file_size > MAX_FILE:
            raise TamperedError(f"{name} is larger than any that was exported")
        return bundle.read(name)
    except KeyError as error:
        raise IncompleteError(f"the bundle has no {name}") from error
    except (*_BROKEN, RuntimeError) as error:
        raise TamperedError(f"{name} cannot be unpacked: {error}") from error


def _check_file(bundle: zipfile.ZipFile, name: str, size: int, sha256: str) -> None:
    """Hash a file piece by piece; a longer one than was signed ends there, bomb or not."""
    found, left = hashlib.sha256(), size
    try:
        with bundle.open(name) as file:
            while piece := file.read(1 << 20):
                left -= len(piece)
                if left < 0:
                    raise TamperedError(f"{name} is longer than what was signed")
                found.update(piece)
    except KeyError as error:
        raise IncompleteError(f"the bundle has no {name}") from error
    except (*_BROKEN, RuntimeError) as error:
        raise TamperedError(f"{name} cannot be unpacked: {error}") from error
    if left or found.hexdigest() != sha256:
        raise TamperedError(f"{name} is not what was signed")


def verify_bundle(path: Path, key: VerifyKey | None = None) -> str:
    """Check a bundle; return a sentence. TamperedError or IncompleteError say what is wrong.

    Without *key* the bundle's own is taken: then somebody has to compare its id with the one that
    the operator has published.
    """
    try:
        bundle = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise TamperedError(f"it is no zip file: {error}") from error
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
    ring = ring_of(own, _handovers(bundle))
    if ring.keys[-1] != own:
        raise TamperedError(f"the bundle's key {own.id.hex()} had been handed over")
    if key is not None and key not in ring.keys:
        raise TamperedError(f"the bundle's key {own.id.hex()} is not the one given")
    checkpoint = ring.open_checkpoint(_read(bundle, "checkpoint.txt").decode())
    if checkpoint.origin != own.name:
        raise TamperedError(f"a checkpoint of {checkpoint.origin}, not of {own.name}")
    told = parse_statement(open_note(_read(bundle, "statement.txt").decode(), own))
    signed = (checkpoint.origin, checkpoint.size, checkpoint.root)
    if (told.origin, told.size, told.root) != signed:
        raise TamperedError("the statement was signed for another checkpoint")
    lines = _read(bundle, "events.jsonl").split(b"\n")
    if lines.pop():
        raise IncompleteError("events.jsonl ends in the middle of an event")
    collected = _verify_events(lines, _proofs(bundle, len(lines)), checkpoint, told)
    there = _verify_files(bundle, told, collected)
    sealed = [box for _, boxes in opened_boxes(bundle) for box in boxes]
    whose = "the key given" if key else f"the bundle's own key {own.id.hex()}; compare it"
    return (
        f"incident {told.incident}: {len(lines)} events are in the log of {checkpoint.origin} at"
        f" size {checkpoint.size}, {there} of {len(collected)} items of evidence are in the"
        f" bundle and unchanged; {sum(box is not None for box in sealed)} of {len(sealed)} sealed"
        f" parts open to what was sealed; signed by {whose}"
    )


def _handovers(bundle: zipfile.ZipFile) -> list[str]:
    if "handovers.json" not in bundle.namelist():  # the log has always had this one key
        return []
    try:
        return [str(note) for note in json.loads(_read(bundle, "handovers.json"))]
    except (ValueError, TypeError) as error:
        raise TamperedError("handovers.json is no list of notes") from error


def opened_boxes(bundle: zipfile.ZipFile) -> list[tuple[Any, list[Any]]]:
    """Return each event with what its sealed parts say; None for one that was erased.

    TamperedError when a part does not open: it is not what was sealed there, or the key is not its.
    """
    if "openings.json" not in bundle.namelist():  # exported before anything was sealed
        return []
    lines = _read(bundle, "events.jsonl").split(b"\n")[:-1]
    try:
        keys = json.loads(_read(bundle, "openings.json"))
        pairs = list(zip(map(json.loads, lines), keys, strict=True))
        return [(event, _opened(event, given)) for event, given in pairs]
    except (ValueError, TypeError, KeyError) as error:
        raise TamperedError("openings.json does not belong to these events") from error


def _opened(event: Any, keys: Sequence[str | None]) -> list[Any]:
    found = []
    for box, key in zip(event["data"].get("sealed", ()), keys, strict=True):
        place = (event["stream_id"], event["event_id"], event["type"], " ".join(box["keys"]))
        name = "\n".join(("tocsin/sealed/1", *place)).encode()
        raw = base64.b64decode(box["box"], validate=True)
        try:
            found.append(
                None
                if key is None
                else json.loads(AESGCM(base64.b64decode(key)).decrypt(raw[:12], raw[12:], name))
            )
        except InvalidTag as error:
            position = int(event["position"])
            told = f"a sealed part at position {position} was altered, or its key was"
            raise TamperedError(told, position) from error
    return found


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
    lines: Sequence[bytes],
    proofs: Sequence[Sequence[bytes]],
    checkpoint: Checkpoint,
    told: Statement,
) -> dict[str, str]:
    """Check each event's proof and their order; return item of evidence → SHA-256 of its bytes."""
    collected: dict[str, str] = {}
    todo = iter([(s, v) for s, count in told.streams for v in range(1, count + 1)])
    for number, (line, path) in enumerate(zip(lines, proofs, strict=True), start=1):
        try:
            event = json.loads(line)
            position, stream = int(event["position"]), str(event["stream_id"])
            version, kind, data = int(event["version"]), str(event["type"]), event["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise TamperedError(f"line {number} of events.jsonl is no event") from error
        if not verify_inclusion(
            leaf_hash(line), position - 1, checkpoint.size, path, checkpoint.root
        ):
            raise TamperedError(f"the event at position {position} was altered", position)
        if (stream, version) != (due := next(todo, ("nothing", 0))):
            raise IncompleteError(
                f"version {due[1]} of {due[0]} is missing before position {position}"
            )
        if kind == "EvidenceCollected.v1":
            collected[stream] = str(data["sha256"])
    if (left := next(todo, None)) is not None:
        raise IncompleteError(f"version {left[1]} of {left[0]} is missing")
    return collected


def _verify_files(bundle: zipfile.ZipFile, told: Statement, collected: dict[str, str]) -> int:
    """Hold every file against the statement, and bytes against the log; return how many bytes."""
    names, signed = bundle.namelist(), {name: sha256 for name, _, sha256 in told.files}
    if len(set(names)) != len(names):
        raise TamperedError("the bundle has two files of one name")
    if strange := sorted(set(names) - set(signed) - _OWN_PROOF):
        raise TamperedError(f"{strange[0]!r} is no file of the bundle that was signed")
    for name, size, sha256 in told.files:
        _check_file(bundle, name, size, sha256)
    there = 0
    for name, sha256 in signed.items():
        if match := _EVIDENCE.fullmatch(name):
            if collected.get(match[1]) != sha256:
                raise TamperedError(f"{name} is not what the log says was collected")
            there += 1
    return there


def main(arguments: Sequence[str]) -> int:
    """Check the bundle that the command line names."""
    try:
        key = VerifyKey.parse(arguments[2]) if arguments[1:2] == ["--key"] else None
        print(f"intact: {verify_bundle(Path(arguments[0]), key)}")  # noqa: T201 - a command
        if arguments[-1] == "--text":
            with zipfile.ZipFile(arguments[0]) as bundle:
                for event, boxes in opened_boxes(bundle):
                    event["data"]["sealed"] = boxes
                    print(json.dumps(event, ensure_ascii=False))  # noqa: T201 - a command
    except TamperedError as error:
        print(f"TAMPERED: {error}")  # noqa: T201 - a command
        return 2
    except (IncompleteError, IndexError, OSError, ValueError) as error:
        print(f"incomplete: {error}")  # noqa: T201 - a command
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
