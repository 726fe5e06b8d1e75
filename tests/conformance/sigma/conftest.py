"""The rules of SigmaHQ, loaded once."""

from pathlib import Path

import pytest

from services.detect.rules.load import LoadReport, load_rules
from services.detect.rules.match import PlainMatcher

DIRECTORIES = (
    "rules",
    "rules-emerging-threats",
    "rules-threat-hunting",
    "rules-placeholder",
    "rules-compliance",
)


@pytest.fixture(scope="session")
def sigmahq(corpus: Path) -> LoadReport:
    return load_rules(corpus / "sigma" / name for name in DIRECTORIES)


@pytest.fixture(scope="session")
def matcher(sigmahq: LoadReport) -> PlainMatcher:
    return PlainMatcher(sigmahq.rules)
