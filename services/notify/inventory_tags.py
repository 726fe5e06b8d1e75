"""Pure: labels of Kubernetes and tags of clouds, read into one form.

``labels`` are a table (Kubernetes); ``tags`` are a table, or a list of ``{Key, Value}`` as clouds
export them (small letters are taken too). In a CSV cell both are that in JSON, or ``key=value``
separated by ``|``. Keys and values are as wide as any of them allow, and never hold control
characters.
"""

import json
from collections.abc import Mapping
from typing import Any

from services.notify.placements import Tags
from shared.yaml_lines import LineError

__all__ = ["MAX_KEY", "MAX_TAGS", "MAX_VALUE", "TAG_KEYS", "read_tags"]

TAG_KEYS = ("labels", "tags")
MAX_KEY = 317  # Kubernetes: 253 of a prefix, a slash, 63 of the name; clouds have 128 to 512
MAX_VALUE = 256
MAX_TAGS = 100


def read_tags(given: Mapping[str, Any], what: str, line: int) -> Tags:
    """Return the tags of a row, in order of their keys; LineError for what is none."""
    found: dict[str, str] = {}
    for field in TAG_KEYS:
        if not (value := given.get(field)):
            continue
        for key, text in _pairs(value, f"{what}: {field}", line):
            if found.setdefault(key, text) != text:
                raise LineError(line, f"{what}: {field} say two things of {key!r}")
    if len(found) > MAX_TAGS:
        raise LineError(line, f"{what} has more than {MAX_TAGS} tags")
    return tuple(sorted(found.items()))


def _pairs(value: object, what: str, line: int) -> list[tuple[str, str]]:
    if isinstance(value, str):
        value = _cell(value, what, line)
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [_cloud(item, what, line) for item in value]
    else:
        raise LineError(line, f"{what} are neither a table nor a list of Key and Value")
    return [(_checked(k, MAX_KEY, 1, what, line), _value(v, what, line)) for k, v in pairs]


def _cell(text: str, what: str, line: int) -> object:
    text = text.strip()
    if text[:1] in {"{", "["}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise LineError(line, f"{what} are not JSON") from None
    pairs = [part.partition("=") for part in text.split("|") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise LineError(line, f"{what} are not key=value, separated by |")
    return [{"Key": key.strip(), "Value": value.strip()} for key, _, value in pairs]


def _cloud(item: object, what: str, line: int) -> tuple[object, object]:
    if isinstance(item, dict):
        lower = {str(key).lower(): value for key, value in item.items()}
        if lower.keys() == {"key", "value"}:
            return lower["key"], lower["value"]
    raise LineError(line, f"{what} are neither a table nor a list of Key and Value")


def _value(value: object, what: str, line: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"  # YAML reads them out of text without quotes
    return _checked(str(value) if isinstance(value, int) else value, MAX_VALUE, 0, what, line)


def _checked(text: object, most: int, least: int, what: str, line: int) -> str:
    if not isinstance(text, str) or not least <= len(text) <= most or not text.isprintable():
        raise LineError(
            line, f"{what}: {text!r:.50} is not printable text of {least} to {most} characters"
        )
    return text
