"""The tree against Certificate Transparency's vectors, and proofs against their own definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cases.ledger.merkle import (
    Range,
    Tree,
    combine,
    consistency_ranges,
    decompose,
    inclusion_ranges,
    root_of,
)
from services.cases.ledger.verifier import (
    EMPTY_ROOT,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

pytestmark = pytest.mark.unit

# certificate-transparency-go, merkle tree tests: inputs, and the root after each.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
          "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def hashes(leaves: list[bytes], ranges: list[Range]) -> list[bytes]:
    return [mth(leaves[start:end]) for start, end in ranges]


def some(count: int) -> list[bytes]:
    return [leaf_hash(str(n).encode()) for n in range(count)]


def test_the_roots_of_certificate_transparency() -> None:
    assert [root_of(LEAVES[: n + 1]).hex() for n in range(8)] == ROOTS
    assert root_of([]) == EMPTY_ROOT


@given(st.integers(0, 300))
def test_the_growing_tree_is_the_defined_one(count: int) -> None:
    leaves = some(count)
    assert root_of(leaves) == mth(leaves)


@given(st.integers(1, 200))
def test_completed_subtrees_are_reported_once_with_their_hash(count: int) -> None:
    leaves, tree = some(count), Tree()
    found = dict(pair for leaf in leaves for pair in tree.append(leaf))
    assert len(found) == count - count.bit_count()
    for (level, index), digest in found.items():
        assert digest == mth(leaves[index << level : index + 1 << level])
    resumed = Tree(count, [mth(leaves[i << v : i + 1 << v]) for v, i in decompose(0, count)])
    assert resumed.append(leaf_hash(b"next")) == tree.append(leaf_hash(b"next"))
    assert resumed.root() == tree.root()


@given(st.data())
def test_a_range_is_made_of_its_subtrees(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    leaves = some(size)
    index = data.draw(st.integers(0, size - 1))
    for start, end in inclusion_ranges(index, size):
        parts = [mth(leaves[i << v : i + 1 << v]) for v, i in decompose(start, end)]
        assert combine(parts) == mth(leaves[start:end])


@settings(max_examples=200)
@given(st.data())
def test_inclusion_is_proven_and_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    index = data.draw(st.integers(0, size - 1))
    leaves = some(size)
    path, root = hashes(leaves, inclusion_ranges(index, size)), mth(leaves)
    assert verify_inclusion(leaves[index], index, size, path, root)
    other = data.draw(st.integers(-1, size + 1).filter(lambda n: n != index))
    assert not verify_inclusion(leaves[index], other, size, path, root)
    assert not verify_inclusion(leaf_hash(b"x"), index, size, path, root)
    assert not verify_inclusion(leaves[index], index, size, [*path, root], root)
    assert not verify_inclusion(leaves[index], index, size, path, leaf_hash(b"x"))
    if path:
        assert not verify_inclusion(leaves[index], index, size, path[:-1], root)
        assert not verify_inclusion(leaves[index], index, size, path[1:], root)


@settings(max_examples=200)
@given(st.data())
def test_consistency_is_proven_and_nothing_else(data: st.DataObject) -> None:
    second = data.draw(st.integers(1, 200))
    first = data.draw(st.integers(1, second))
    leaves = some(second)
    old, new = mth(leaves[:first]), mth(leaves)
    path = hashes(leaves, consistency_ranges(first, second))
    assert verify_consistency(first, second, old, new, path)
    wrong = leaf_hash(b"x")
    assert not verify_consistency(first, second, wrong, new, path)
    assert not verify_consistency(first, second, old, wrong, path)
    assert not verify_consistency(first, second, old, new, [*path, wrong])
    if path:
        assert not verify_consistency(first, second, old, new, path[:-1])
        broken = list(path)
        place = data.draw(st.integers(0, len(path) - 1))
        broken[place] = wrong
        assert not verify_consistency(first, second, old, new, broken)


def test_what_does_not_exist_has_no_proof() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_ranges(3, 3)
    for first, second in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="extend"):
            consistency_ranges(first, second)
    with pytest.raises(ValueError, match="right edge"):
        Tree(3, [EMPTY_ROOT])
