"""`tocsin templates`: checks the words of notices, corrections and forms before their use."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="Templates of notices, corrections and forms.", no_args_is_help=True)


@app.callback()
def templates() -> None:
    """Templates of notices, corrections and forms."""


@app.command()
def check(
    directory: Annotated[Path, typer.Argument(help="A folder of templates (*.yml).")],
    regimes: Annotated[
        list[Path] | None, typer.Option(help="Rows of your own that they name; may be repeated.")
    ] = None,
) -> None:
    """Read templates as notify would; each row that is wrong with its line, exit code 1."""
    from services.notify.obligations.regime_file import load_regimes
    from services.notify.wording.catalogue_file import check_wording

    known = (row.id for row in load_regimes(regimes or [], {}).rows)
    found, faults = check_wording(directory, known)
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise typer.Exit(1)
    own = sum(template.origin != "shipped" for template in found.templates)
    typer.echo(f"{directory}: good ({own} templates)")
