"""Parsed rules of the last start, by what their text says: one file, checked, replaceable.

What stands in it follows from the rule files alone, so it is thrown away where there is doubt:
another version of the parser, a wrong checksum, a file that somebody else may write. Nothing in it
is executed or unpickled. It holds what the last start used, up to a size; the rest is parsed again.
"""

import hashlib
import json
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import structlog

from .codec import decoded, encoded
from .model import Rule
from .parse import Document, parse_rules
from .values import Placeholders

__all__ = ["FILE", "MAX_BYTES", "RuleCache"]

FILE = "rules.cache"
MAX_BYTES = 128 * 1024 * 1024
_MAGIC = b"tocsin-rules-1\n"
_SHA256 = hashlib.sha256().digest_size

log = structlog.get_logger()
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode
_entries = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode


class RuleCache:
    """The file FILE of *folder*: read when it is first asked, written by `save`."""

    def __init__(self, folder: Path, limit: int = MAX_BYTES) -> None:
        self._path, self._limit = folder / FILE, limit
        self._known: dict[bytes, bytes] | None = None
        self._used: dict[bytes, bytes] = {}
        self._fresh = False
        self.hits = 0

    def rules(self, text: str, path: str, placeholders: Placeholders) -> tuple[Document, ...]:
        """Return what `parse_rules` gives, or gave before; what is not all rules is not kept."""
        if self._known is None:
            self._known = self._read()
        key = _key(text, placeholders)
        known = self._used.get(key) or self._known.get(key)
        if known is not None:
            try:
                found = tuple(decoded(one, path) for one in _unpack(known))
            except (ValueError, msgspec.MsgspecError) as error:
                log.warning("cached rule is damaged; parsed again", file=path, error=str(error))
            else:
                self.hits += 1
                self._used[key] = known
                return found
        parsed = tuple(parse_rules(text, path, placeholders))
        rules = [each for each in parsed if isinstance(each, Rule)]
        if rules and len(rules) == len(parsed):
            self._used[key] = _pack([encoded(rule) for rule in rules])
            self._fresh = True
        return parsed

    def save(self) -> None:
        """Write what was used since the start if there is something new; a failure is logged."""
        self._known = {}  # what nobody asked for belongs to files that are gone
        if not self._fresh:
            return
        self._fresh = False
        body = _pack(self._used)
        if len(body) > self._limit:
            log.warning("rules are not cached: too large", bytes=len(body), limit=self._limit)
            return
        content = b"".join((_MAGIC, parser_digest(), hashlib.sha256(body).digest(), body))
        draft = self._path.with_name(f"{FILE}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            os.replace(draft, self._path)
        except OSError as error:
            log.warning("rules are not cached", file=str(self._path), error=str(error))

    def _read(self) -> dict[bytes, bytes]:
        try:
            with self._path.open("rb") as file:
                _ours(os.fstat(file.fileno()))
                content = file.read(self._limit + 1024)
            return _checked(content)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("cached rules are not used", file=str(self._path), error=str(error))
            return {}


def _ours(about: os.stat_result) -> None:
    if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError("somebody else may write it")


def _checked(content: bytes) -> dict[bytes, bytes]:
    """Return the entries of a cache file; ValueError where it is broken or another parser's."""
    head = content[: len(_MAGIC)]
    rest = content[len(_MAGIC) :]
    if head != _MAGIC or rest[:_SHA256] != parser_digest():
        raise ValueError("it is of another version")
    body = rest[2 * _SHA256 :]
    if hashlib.sha256(body).digest() != rest[_SHA256 : 2 * _SHA256]:
        raise ValueError("its checksum is wrong")
    return _entries(body)


@cache
def parser_digest() -> bytes:
    """Return what changes when the program that parses rules does: the SHA-256 of its text."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def _key(text: str, placeholders: Placeholders) -> bytes:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    if "expand" in text:  # else no placeholder can stand for anything
        values = {name: list(each) for name, each in placeholders.items()}
        digest.update(b"\0" + json.dumps(values, sort_keys=True).encode())
    return digest.digest()
