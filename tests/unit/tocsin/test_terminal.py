"""What is printed is what was written: nothing broken in two, nothing read as markup."""

import io
from pathlib import Path

import pytest
from rich.table import Table

from tocsin.rules import check
from tocsin.terminal import Terminal


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.delenv("COLUMNS", raising=False)
    return io.StringIO()


@pytest.mark.parametrize("text", ["a/" * 400, "[/red] [bold]x [/] 10.0.0.1 'x'", "[link=x"])
def test_text_is_left_alone(out: io.StringIO, text: str) -> None:
    Terminal(file=out).print(text, style="red")
    assert out.getvalue() == f"{text}\n"


def test_a_table_in_a_pipe_has_room(out: io.StringIO) -> None:
    table = Table("one", "two")
    table.add_row("x" * 90, "y" * 90)
    Terminal(file=out).print(table)
    assert f"{'x' * 90} │ {'y' * 90}" in out.getvalue()


def test_a_rule_whose_fault_has_brackets_is_told_as_it_is(out: io.StringIO, tmp_path: Path) -> None:
    rule = tmp_path / "a[red]b[].yml"
    rule.write_text("title: [/nope]\nlogsource: 1\n")
    assert check([rule], Terminal(file=out)) == 1
    assert f"rejected: {rule}" in out.getvalue()
