"""How hits are written."""

from enum import StrEnum

__all__ = ["Form"]


class Form(StrEnum):
    """How hits are written."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"
