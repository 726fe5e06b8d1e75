"""Windows events as evtx tools write them as JSON, flattened to the names that rules use."""

import json
from collections.abc import Iterator
from typing import Any


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON documents that stand one after the other in *text*."""
    decoder = json.JSONDecoder()
    at = 0
    text = text.removeprefix("\ufeff").strip()
    while at < len(text):
        document, end = decoder.raw_decode(text, at)
        yield document
        at = end + len(text[end:]) - len(text[end:].lstrip())


def flatten(document: dict[str, Any]) -> dict[str, Any]:
    """Return the event of *document* in one level.

    System elements keep their name, their attributes follow after an underscore
    (`Provider_Name`); the data below EventData or UserData loses the spaces in its names.
    """
    event = document["Event"]
    fields: dict[str, Any] = {}
    for name, value in event.get("System", {}).items():
        if isinstance(value, dict):
            _add(fields, name, value)
        else:
            fields[name] = value
    for name, value in (event.get("EventData") or {}).items():
        _add_data(fields, name, value)
    for body in (event.get("UserData") or {}).values():
        for name, value in body.items() if isinstance(body, dict) else ():
            _add_data(fields, name, value)
    return fields


def _add(fields: dict[str, Any], name: str, element: dict[str, Any]) -> None:
    for attribute, value in element.get("#attributes", {}).items():
        fields[f"{name}_{attribute}"] = value
    if "#text" in element:
        fields[name] = element["#text"]


def _add_data(fields: dict[str, Any], name: str, value: Any) -> None:
    if name != "#attributes":
        fields.setdefault(name.replace(" ", ""), value)
