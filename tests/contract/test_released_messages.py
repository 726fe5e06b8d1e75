"""A released contract never changes: the schemas on disk are what integrators built against.

`make release-contracts` writes the schema of a new contract; it refuses to change an old one.
"""

import json
from pathlib import Path

import pytest

from shared.contracts.base import Contract, registry
from shared.topology import STREAMS

pytestmark = pytest.mark.contract
RELEASED = Path(__file__).parent / "released"


def schema(contract: type[Contract]) -> dict[str, object]:
    return contract.model_json_schema(mode="serialization")


def write_new() -> None:
    """Write the schema of every contract that has none on disk yet."""
    for subject, contract in registry().items():
        path = RELEASED / f"{subject}.json"
        if not path.exists():
            path.write_text(json.dumps(schema(contract), indent=1, sort_keys=True) + "\n")
            print(f"released {subject}")


@pytest.mark.parametrize("subject", sorted(registry()))
def test_a_released_contract_is_what_it_was(subject: str) -> None:
    path = RELEASED / f"{subject}.json"
    assert path.exists(), f"{subject} is not released: run `make release-contracts`"
    assert json.loads(path.read_text()) == json.loads(json.dumps(schema(registry()[subject])))


def test_no_released_contract_was_dropped() -> None:
    assert {path.stem for path in RELEASED.glob("*.json")} <= set(registry())


@pytest.mark.parametrize("subject", sorted(registry()))
def test_subjects_follow_the_grammar_and_land_in_one_stream(subject: str) -> None:
    tokens = subject.split(".")
    assert tokens[:2] == ["tocsin", "v1"]
    assert len(tokens) == 5
    takers = [
        stream.name
        for stream in STREAMS
        if any(subject.startswith(pattern.rstrip(">")) for pattern in stream.subjects)
    ]
    assert len(takers) == 1


@pytest.mark.parametrize("subject", sorted(registry()))
def test_readers_ignore_what_they_do_not_know(subject: str) -> None:
    assert registry()[subject].model_config["extra"] == "ignore"
    assert registry()[subject].model_config["frozen"] is True


if __name__ == "__main__":
    write_new()
