"""Windows events as EVTX tools write them as JSON, in one level and by the names rules use."""

from typing import Any

__all__ = ["flatten", "is_windows_event"]


def is_windows_event(document: Any) -> bool:
    """Return whether *document* is {"Event": {"System": …}}."""
    event = document.get("Event") if isinstance(document, dict) else None
    return isinstance(event, dict) and isinstance(event.get("System"), dict)


def flatten(document: dict[str, Any]) -> dict[str, Any]:
    """Return the event of *document* in one level.

    System elements keep their name, their attributes follow after an underscore
    (`Provider_Name`); the data below EventData or UserData lose the spaces in their names, as
    Sigma's taxonomy says.
    """
    event = document["Event"]
    fields: dict[str, Any] = {}
    for name, value in event.get("System", {}).items():
        if isinstance(value, dict):
            _add(fields, name, value)
        else:
            fields[name] = value
    data = event.get("EventData")
    for name, value in data.items() if isinstance(data, dict) else ():
        _add_data(fields, name, value)
    bodies = event.get("UserData")
    for body in bodies.values() if isinstance(bodies, dict) else ():
        for name, value in body.items() if isinstance(body, dict) else ():
            _add_data(fields, name, value)
    return fields


def _add(fields: dict[str, Any], name: str, element: dict[str, Any]) -> None:
    attributes = element.get("#attributes")
    for attribute, value in attributes.items() if isinstance(attributes, dict) else ():
        fields[f"{name}_{attribute}"] = value
    if "#text" in element:
        fields[name] = element["#text"]


def _add_data(fields: dict[str, Any], name: str, value: Any) -> None:
    if name == "#attributes":
        return
    # Some providers give a list: {"Data": {"#text": [...]}}.
    if isinstance(value, dict) and set(value) <= {"#text", "#attributes"}:
        value = value.get("#text")
    fields.setdefault(name.replace(" ", ""), value)
