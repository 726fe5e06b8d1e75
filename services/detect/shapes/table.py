"""The table of shapes that Tocsin ships."""

from functools import cache
from pathlib import Path

import yaml

from services.detect.shapes.model import Shape, read_shapes

__all__ = ["default_shapes"]

_SHIPPED = Path(__file__).with_name("shapes.yml")


@cache
def default_shapes() -> tuple[Shape, ...]:
    """Return the shapes that Tocsin ships."""
    return read_shapes(yaml.safe_load(_SHIPPED.read_text(encoding="utf-8")))
