"""The tree of RFC 6962: which hashes make a root or a proof, and a root that grows. Pure.

A range of leaves is ``[start, end)``. A perfect subtree is ``(level, index)``: the leaves
``index << level`` up to ``(index + 1) << level``; level 0 is a leaf.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce

from services.cases.ledger.verifier import EMPTY_ROOT, node_hash

__all__ = [
    "Range", "Subtree", "Tree", "combine", "consistency_ranges", "decompose", "inclusion_ranges",
    "root_of",
]  # fmt: skip

Range = tuple[int, int]
Subtree = tuple[int, int]


def _split(size: int) -> int:
    """Return the largest power of two below *size*."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the ranges whose hashes prove leaf *index* in a tree of *size* (§2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """Return the ranges whose hashes prove that a tree of *second* extends one of *first*."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {second} does not extend one of {first}")
    start, end, path, whole = 0, second, [], True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    if not whole:  # the old root is not itself a node of the new tree
        path.append((start, end))
    return path[::-1]


def decompose(start: int, end: int) -> Iterator[Subtree]:
    """Yield the perfect subtrees that make up a range, left to right."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def combine(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over the perfect subtrees of a range that starts at a subtree's border."""
    if not hashes:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over *leaves*."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


class Tree:
    """A tree that remembers its right edge only: as many hashes as its size has one-bits."""

    def __init__(self, size: int = 0, frontier: Iterable[bytes] = ()) -> None:
        self.size = size
        self._frontier = list(frontier)
        if len(self._frontier) != size.bit_count():
            raise ValueError(f"{len(self._frontier)} hashes are no right edge of {size} leaves")

    def append(self, leaf: bytes) -> list[tuple[Subtree, bytes]]:
        """Add a leaf; return the subtrees above it that this completed, lowest first."""
        completed, level, digest = [], 0, leaf
        while self.size >> level & 1:
            digest = node_hash(self._frontier.pop(), digest)
            level += 1
            completed.append(((level, self.size >> level), digest))
        self._frontier.append(digest)
        self.size += 1
        return completed

    def root(self) -> bytes:
        return combine(self._frontier)
