"""The boxes of a stored event: what is sealed, under the keys of those whom it is about.

AES-256-GCM (NIST SP 800-38D). Each box has a key of its own, made of the data keys by HMAC-SHA-256
over what names the box; so all of them are needed, destroying any erases it, and one box can be
shown to somebody without its neighbours. What names the box (stream, event, type, data keys) is
also authenticated, and the fields' names are inside: a box fits in no other place.
"""

import base64
import hmac
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.cases.sealing.leaves import SEALED, erase, leaves

__all__ = [
    "BOXES", "INCIDENT", "AlteredBoxError", "Keys", "Subject", "box_keys", "open_boxes", "put_away",
    "subjects",
]  # fmt: skip

BOXES = "sealed"
"""The member of the stored event that holds its boxes."""
NONCE = 12

Subject = str
"""A person's name in its one spelling; INCIDENT is the incident itself."""
INCIDENT: Subject = ""
Keys = Mapping[str, bytes | None]
"""Id of a data key → its 32 bytes, or None when it was destroyed."""


class AlteredBoxError(Exception):
    """A box is not what was sealed for its place: somebody altered or moved it."""


def _name(stream_id: object, event_id: object, type_: str, ids: Sequence[str]) -> bytes:
    return f"tocsin/sealed/1\n{stream_id}\n{event_id}\n{type_}\n{' '.join(ids)}".encode()


def _box_key(name: bytes, keys: Sequence[bytes]) -> bytes:
    found = hmac.digest(keys[0], name, "sha256")
    for key in keys[1:]:
        found = hmac.digest(key, found, "sha256")
    return found


def subjects(cls: type, plain: Mapping[str, Any]) -> set[Subject]:
    """Return on whose accounts an event of *cls* is sealed: nobody's when nothing is."""
    found: set[Subject] = set()
    for leaf in leaves(cls, plain):
        found |= {INCIDENT, *leaf.persons}
    return found


def put_away(
    cls: type,
    plain: dict[str, Any],
    place: tuple[object, object, str],
    of: Mapping[Subject, tuple[str, bytes]],
) -> None:
    """Move what is sealed of *plain* into boxes; *of* has each subject's data key and its id.

    *place* is stream, event id and type: where the event will stand, and nowhere else.
    """
    groups: dict[frozenset[str], dict[str, Any]] = {}
    for leaf in leaves(cls, plain):
        groups.setdefault(leaf.persons, {})[leaf.path] = leaf.value
    boxes = []
    for persons, values in groups.items():
        chosen = [of[INCIDENT], *(of[person] for person in sorted(persons))]
        ids = [key_id for key_id, _ in chosen]
        name = _name(*place, ids)
        nonce = os.urandom(NONCE)
        cipher = AESGCM(_box_key(name, [key for _, key in chosen]))
        sealed = nonce + cipher.encrypt(nonce, msgspec.json.encode(values), name)
        boxes.append({"box": base64.b64encode(sealed).decode(), "keys": ids})
        for path in values:
            _set(plain, path, SEALED)
    if boxes:
        plain[BOXES] = boxes


def open_boxes(
    cls: type, plain: dict[str, Any], place: tuple[object, object, str], keys: Keys
) -> None:
    """Put what is in the boxes back into *plain*; "erased" where a key was destroyed.

    AlteredBoxError when a box is not what was sealed for this place; KeyError for an unknown key.
    """
    erased = False
    for box in plain.pop(BOXES, ()):
        ids = box["keys"]
        found = [keys[key_id] for key_id in ids]
        whole = [key for key in found if key is not None]
        if len(whole) < len(ids):
            erased = True
            continue
        name = _name(*place, ids)
        raw = base64.b64decode(box["box"])
        try:
            opened = AESGCM(_box_key(name, whole)).decrypt(raw[:NONCE], raw[NONCE:], name)
        except (InvalidTag, ValueError) as error:
            raise AlteredBoxError(
                f"event {place[1]} of stream {place[0]}: a sealed part was altered"
            ) from error
        for path, value in msgspec.json.decode(opened).items():
            _set(plain, path, value)
    if erased:
        erase(cls, plain)


def box_keys(
    plain: Mapping[str, Any], place: tuple[object, object, str], keys: Keys
) -> list[bytes | None]:
    """Return the key of each box of a stored event, for whoever may read it; None: erased."""
    found: list[bytes | None] = []
    for box in plain.get(BOXES, ()):
        ids = box["keys"]
        whole = [key for key in (keys[key_id] for key_id in ids) if key is not None]
        found.append(_box_key(_name(*place, ids), whole) if len(whole) == len(ids) else None)
    return found


def _set(node: Any, path: str, value: Any) -> None:
    *way, last = path.split("/")
    for part in way:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
