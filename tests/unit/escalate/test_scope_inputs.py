"""What a scope tells the severity policy; tags alone tell it nothing about the reach."""

import pytest

from services.escalate.directory import load_directory
from services.escalate.reassessment import scope_inputs
from shared.contracts.cases import Scope, ScopeSelector

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("include", "reach"),
    [
        ([ScopeSelector(tags={"env": "prod"})], None),
        ([ScopeSelector(tags={"env": "prod"}, server="m1")], "server"),
        ([ScopeSelector(tags={"env": "prod"}), ScopeSelector(region="eu-west")], "region"),
        ([ScopeSelector(server="m1"), ScopeSelector(server="m2")], "server_farm"),
    ],
)
def test_the_reach_of_a_scope(include: list[ScopeSelector], reach: str | None) -> None:
    found = scope_inputs(Scope(include=include), load_directory())
    assert found.get("scope") == reach
