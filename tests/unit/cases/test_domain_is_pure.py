"""The core of cases imports itself and the standard library, and nothing that reads the world."""

import ast
import sys
from pathlib import Path

import pytest

import services.cases.domain

pytestmark = pytest.mark.unit
FOLDER = Path(next(iter(services.cases.domain.__path__)))
WORLD = {"asyncio", "os", "pathlib", "random", "secrets", "socket", "subprocess", "time", "io"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.name)
def test_a_module_of_the_core_is_pure(path: Path) -> None:
    for name in imported(path):
        if name.startswith((".", "services.cases.domain")):
            continue
        root = name.partition(".")[0]
        assert root in sys.stdlib_module_names, name
        assert root not in WORLD, name
