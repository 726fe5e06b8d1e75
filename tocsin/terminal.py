"""What commands print: sentences as they are, tables as wide as there is room."""

import os
from typing import Any, TextIO

from rich.console import Console

__all__ = ["Terminal"]

# Of a table that goes into a file or a pipe, where nobody says how wide.
PIPE_WIDTH = 200


class Terminal(Console):
    """A console that leaves text alone: a path or a digest is never broken in two, and brackets in
    what users wrote are no markup. Tables and panels are laid out as always."""

    def __init__(self, *, stderr: bool = False, file: TextIO | None = None) -> None:
        super().__init__(stderr=stderr, file=file)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = PIPE_WIDTH

    def print(self, *objects: Any, **how: Any) -> None:
        """Print *objects*; with `markup=True` text has markup after all."""
        if all(isinstance(each, str) for each in objects):
            how = {"markup": False, "highlight": False, "soft_wrap": True} | how
        super().print(*objects, **how)
