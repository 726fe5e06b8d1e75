"""Which drafts of an erased incident are still needed."""

from datetime import UTC, datetime, timedelta

import pytest

from services.notify.draft_erasure import Written, digest_of, spent

pytestmark = pytest.mark.unit

NOW = datetime(2036, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def steps(kinds: str) -> list[Written]:
    """Return the steps of *kinds* (d: draft, s: submission), a day apart, the last one today."""
    count = len(kinds)
    return [
        Written(n, "draft" if kind == "d" else "submit", NOW - (count - 1 - n) * DAY, "{}")
        for n, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("kinds", "stage", "kept", "gone"),
    [
        ("", "triggered", 9, []),
        ("d", "drafted", 9, []),  # to be handed in yet
        ("dd", "approved", 9, [0]),
        ("d", "not_required", 9, [0]),
        ("d", "waived", 9, [0]),
        ("ds", "submitted", 9, []),  # proof
        ("dds", "submitted", 9, [0]),
        ("ds", "submitted", 0, [0]),  # no longer
        ("dsds", "submitted", 2, [0]),  # of the first one the time is over
        ("dsd", "drafted", 9, []),
    ],
)
def test_a_draft_goes_once_nobody_needs_it(
    kinds: str, stage: str, kept: int, gone: list[int]
) -> None:
    assert [d.step for d in spent(steps(kinds), stage, NOW - kept * DAY)] == gone


def test_its_digest_is_of_its_words_in_one_order() -> None:
    one = '{"content": {"b": "ä", "a": "x"}}'
    assert digest_of(one) == digest_of('{"content": {"a": "x", "b": "\\u00e4"}}')
    assert digest_of(one) != digest_of('{"content": {"a": "y", "b": "ä"}}')
