"""Judges a whole stored log: every row against its leaf, every leaf against what was signed. Pure.

Rows are given in order, page by page; the first thing that is wrong ends it with TamperedError.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.cases.ledger.leaf import leaf_of
from services.cases.ledger.merkle import Subtree, Tree
from services.cases.ledger.tree import STRIDE
from services.cases.ledger.verifier import (
    Checkpoint,
    IncompleteError,
    KeyRing,
    TamperedError,
)

__all__ = ["Audit", "Verdict", "checkpoints_of"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An intact log: how long it is and how much of it was signed."""

    events: int
    signed: int
    checkpoints: int
    root: bytes

    def sentence(self) -> str:
        root = base64.b64encode(self.root).decode()
        later = self.events - self.signed
        tail = f"; the last {later} are not signed yet" if later else ""
        return f"{self.events} events, {self.checkpoints} checkpoints, root {root}{tail}"


def checkpoints_of(rows: Iterable[Mapping[str, Any]], ring: KeyRing) -> list[Checkpoint]:
    """Return the stored checkpoints in order; each is signed and names the one before it."""
    found: list[Checkpoint] = []
    for row in rows:
        try:
            checkpoint = ring.open_checkpoint(row["note"])
        except TamperedError as error:
            raise TamperedError(f"checkpoint {row['size']}: {error}") from error
        last = found[-1].size if found else 0
        if checkpoint.size != row["size"] or checkpoint.origin != ring.keys[0].name:
            raise TamperedError(f"checkpoint {row['size']} was signed as another one")
        if checkpoint.previous != last:
            raise TamperedError(f"a checkpoint between {last} and {checkpoint.size} is missing")
        found.append(checkpoint)
    return found


class Audit:
    """One reading of the log from its first event to its last."""

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        nodes: Mapping[Subtree, bytes],
        pinned: Checkpoint | None = None,
    ) -> None:
        """*pinned* is a checkpoint kept elsewhere: the log has to extend it."""
        self._roots = {c.size: c for c in (*checkpoints, *([pinned] if pinned else ()))}
        if pinned and any(c.size == pinned.size and c != pinned for c in checkpoints):
            raise TamperedError(f"another checkpoint of {pinned.size} was signed than the one kept")
        self._checkpoints = checkpoints
        self._pinned = pinned
        self._nodes = dict(nodes)
        self._tree = Tree()
        self._versions: dict[UUID, int] = {}
        self._agreed = 0

    @property
    def position(self) -> int:
        """Return the last position that was found right."""
        return self._tree.size

    def take(self, row: Mapping[str, Any]) -> None:
        """Judge the next event, a row of LEAF_COLUMNS with the stored ``hash``."""
        position = self._tree.size + 1
        if row["position"] != position:
            raise TamperedError(f"position {position} is missing", position)
        stream, version = row["stream_id"], row["version"]
        if version != self._versions.get(stream, 0) + 1:
            raise TamperedError(f"position {position}: version {version} is out of turn", position)
        try:
            leaf = leaf_of(row)
        except (ValueError, OverflowError, AttributeError) as error:
            raise TamperedError(f"position {position} is nothing we wrote", position) from error
        if leaf != row["hash"]:
            raise TamperedError(f"the event at position {position} was altered", position)
        self._versions[stream] = version
        for place, digest in self._tree.append(leaf):
            if place[0] % STRIDE == 0 and self._nodes.pop(place, digest) != digest:
                raise TamperedError(f"the stored tree differs at position {position}", position)
        checkpoint = self._roots.get(position)
        if checkpoint is not None:
            if checkpoint.root != self._tree.root():
                first = self._agreed + 1
                raise TamperedError(
                    f"events were replaced between positions {first} and {position}", first
                )
            self._agreed = position

    def finish(self, head: int, leaves: int) -> Verdict:
        """Judge what should be there and is not, and the other way round."""
        size = self._tree.size
        longest = max(self._roots, default=0)
        if size < longest:
            raise TamperedError(f"the log ends at {size}, though {longest} were signed", size + 1)
        if head != size or leaves != size:
            raise TamperedError(
                f"{size} events, {leaves} leaves, head at {head}: the end was changed",
                min(size, head, leaves) + 1,
            )
        if self._nodes:
            level, index = min(self._nodes)
            raise TamperedError(f"the stored tree has a node {level}/{index} that it cannot have")
        if self._pinned and (
            not self._checkpoints or self._checkpoints[-1].size < self._pinned.size
        ):
            raise TamperedError(f"the checkpoint of {self._pinned.size} was taken out")
        if size and not self._checkpoints:
            raise IncompleteError(f"{size} events agree with their leaves, but nothing is signed")
        return Verdict(size, longest, len(self._checkpoints), self._tree.root())
