"""Decisions are numbered once each, and their titles carry their numbers."""

from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "adr"


def test_each_decision_has_a_number_of_its_own() -> None:
    files = sorted(FOLDER.glob("*.md"))
    numbers = Counter(file.name[:4] for file in files)
    assert [number for number, times in numbers.items() if times > 1] == []
    for file in files:
        assert file.read_text().startswith(f"# {file.name[:4]} "), file.name
