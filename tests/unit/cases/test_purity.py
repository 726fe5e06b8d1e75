"""The core imports the standard library and itself, nothing else (style rule 1)."""

import ast
import sys
from pathlib import Path

import pytest

import services.cases.domain as domain

pytestmark = pytest.mark.unit

MODULES = sorted(Path(domain.__path__[0]).glob("**/*.py"))
IMPURE = {"asyncio", "random", "secrets", "socket", "threading", "time", "os", "io", "logging"}
CLOCKS = {"now", "utcnow", "today", "uuid1", "uuid4"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_a_module_of_the_core_is_pure(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert name.startswith("services.cases.domain") or (
                top in sys.stdlib_module_names and top not in IMPURE
            ), f"{path.name} imports {name}"
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCKS, f"{path.name} reads a clock or draws an id"


def test_the_roles_of_the_core_are_those_of_the_edge() -> None:
    from services.cases.domain.vocabulary import Role as Inside
    from shared.auth import Role as Outside

    assert {role.value for role in Inside} - {"system"} <= {role.value for role in Outside}
    assert "system" not in {role.value for role in Outside}  # no token makes a system
