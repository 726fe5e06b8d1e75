"""A Windows event in its XML form, in one level and by the names that rules use."""

import xml.etree.ElementTree as ET
from typing import Any

__all__ = ["fields_of_xml"]


def fields_of_xml(text: str) -> dict[str, Any]:
    """Return the fields of ``<Event>…</Event>``; {} where it is none.

    As with EVTX: System elements keep their name, attributes follow after an underscore, members
    of EventData and UserData stand beside them without the spaces in their names. An XML with a
    document type is refused: entities could make it grow without bound.
    """
    if "<!" in text:
        return {}
    try:
        event = ET.fromstring(text)  # noqa: S314 - see above
    except ET.ParseError:
        return {}
    if _name(event) != "Event":
        return {}
    fields: dict[str, Any] = {}
    for part in event:
        name = _name(part)
        if name == "System":
            for element in part:
                _add_system(fields, element)
        elif name == "EventData":
            _add_data(fields, part)
        elif name == "UserData":
            for body in part:
                _add_data(fields, body)
    return fields


def _add_system(fields: dict[str, Any], element: ET.Element) -> None:
    name = _name(element)
    for attribute, value in element.attrib.items():
        fields[f"{name}_{attribute}"] = value
    if element.text and element.text.strip():
        fields[name] = element.text.strip()


def _add_data(fields: dict[str, Any], parent: ET.Element) -> None:
    unnamed: list[str] = []
    for element in parent:
        value = "".join(element.itertext())
        if (name := element.get("Name")) is not None:
            fields.setdefault(name.replace(" ", ""), value)
        elif _name(element) == "Data":
            unnamed.append(value)
        else:
            fields.setdefault(_name(element), value)
    if unnamed:
        fields.setdefault("Data", unnamed if len(unnamed) > 1 else unnamed[0])


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
