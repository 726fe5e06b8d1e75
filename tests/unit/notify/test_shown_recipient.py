"""What others are told of a recipient: of a URL only where it leads."""

import pytest

from services.notify.outcomes import shown_recipient

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("recipient", "shown"),
    [
        ("a@x.example", "a@x.example"),
        ("https://x.example/services/T0/KEY", "https://x.example"),
        ("https://x.example:8443?key=1", "https://x.example:8443"),
    ],
)
def test_the_path_may_be_a_key_and_stays_here(recipient: str, shown: str) -> None:
    assert shown_recipient(recipient) == shown
