"""New ids are version 7, distinct, and sort in the order in which they were drawn."""

from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest

from shared.ids import uuid7, uuid7_text, uuid7_texts

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_ids_drawn_together(count: int) -> None:
    texts = uuid7_texts(count)
    assert len(set(texts)) == count
    assert all(a < b for a, b in pairwise(texts))
    for text in texts:
        parsed = UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, RFC_4122, text)


def test_two_bundles_share_no_id() -> None:
    bundles = [uuid7_texts(100) for _ in range(100)]
    assert len({text for bundle in bundles for text in bundle}) == 10_000


def test_one_id() -> None:
    for one in (uuid7(), UUID(uuid7_text())):
        assert (one.version, one.variant) == (7, RFC_4122)
    assert len({uuid7_text() for _ in range(100)}) == 100
