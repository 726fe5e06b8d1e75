"""The rules of SigmaHQ, loaded once."""

from pathlib import Path

import pytest

from services.detect.engine.matcher import FastMatcher
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


@pytest.fixture(scope="session", params=[PlainMatcher, FastMatcher])
def matcher(request: pytest.FixtureRequest, sigmahq: LoadReport) -> PlainMatcher | FastMatcher:
    """Both matchers, so that whatever is asked of one is asked of the other."""
    made: PlainMatcher | FastMatcher = request.param(sigmahq.rules)
    return made
