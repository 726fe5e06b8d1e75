"""JSON documents one after the other, as the regression data of rules are kept."""

import json
from collections.abc import Iterator
from typing import Any

from services.detect.shapes.windows_event import flatten

__all__ = ["documents", "flatten"]


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON documents that stand one after the other in *text*."""
    decoder = json.JSONDecoder()
    at = 0
    text = text.removeprefix("\ufeff").strip()
    while at < len(text):
        document, end = decoder.raw_decode(text, at)
        yield document
        at = end + len(text[end:]) - len(text[end:].lstrip())
