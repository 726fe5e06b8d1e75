"""CEF and LEEF, the formats that security appliances put into syslog, into fields.

Sources: ArcSight Common Event Format, revision 26 (header `CEF:v|vendor|product|version|class|name|
severity|extension`); IBM QRadar LEEF 1.0 and 2.0.
"""

import re
from collections.abc import Mapping

__all__ = ["find_cef_or_leef"]

_START = re.compile(r"(CEF|LEEF): ?(\d+(?:\.\d+)?)\|")
_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")
_KEY = re.compile(r"(?:^|(?<= ))([A-Za-z0-9_.\-\[\]]{1,128})=")
_CEF = ("device_vendor", "device_product", "device_version", "event_class_id", "name", "severity")
_LEEF = ("device_vendor", "device_product", "device_version", "event_id")
_LABEL = re.compile(r"(?:cs|cn|cfp|c6a|deviceCustomDate|flexString|flexNumber|flexDate)\d+Label")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = re.compile(r"\\(.)", re.S)


def find_cef_or_leef(message: str) -> dict[str, str]:
    """Return the fields of a CEF or LEEF *message*: the header as ``cef.<name>`` or
    ``leef.<name>``, the extension under its own keys, and what a custom field's label names under
    that label. Empty for any other text, and for a header that is cut short."""
    start = _START.match(message)
    if start is None:
        return {}
    kind = start[1].lower()
    names = _CEF if kind == "cef" else _LEEF
    header, rest = _header(message, start.end(), len(names))
    if len(header) < len(names):
        return {}
    fields = {f"{kind}.version": start[2]}
    fields |= {f"{kind}.{name}": value for name, value in zip(names, header, strict=True)}
    extension = _cef(rest) if kind == "cef" else _leef(rest, start[2])
    return fields | _labelled(extension) | extension


def _header(message: str, position: int, count: int) -> tuple[list[str], str]:
    values: list[str] = []
    while len(values) < count and (pipe := _PIPE.search(message, position)):
        values.append(_unescape(message[position : pipe.end() - 1]))
        position = pipe.end()
    if len(values) == count - 1 and position < len(message):  # nothing after the last field
        values.append(_unescape(message[position:]))
        position = len(message)
    return values, message[position:]


def _cef(text: str) -> dict[str, str]:
    """A value goes on until the next key, spaces and all."""
    keys = list(_KEY.finditer(text))
    ends = [*(key.start() for key in keys[1:]), len(text)][: len(keys)]  # none without a key
    return {
        key[1]: _unescape(text[key.end() : end].rstrip(" "))
        for key, end in zip(keys, ends, strict=True)
    }


def _leef(text: str, version: str) -> dict[str, str]:
    delimiter = "\t"
    if version.startswith("2"):
        named, pipe, rest = text.partition("|")
        if pipe and len(named) <= 5:
            text, delimiter = rest, _delimiter(named)
    pairs = (part.partition("=") for part in text.split(delimiter))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip()}


def _delimiter(named: str) -> str:
    """A character, or its code in hex: ``x09``, ``0x09``."""
    digits = named.removeprefix("0").removeprefix("x")
    if len(named) > 1:
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            return "\t"
    return named or "\t"


def _labelled(extension: Mapping[str, str]) -> dict[str, str]:
    """``cs1Label=Policy cs1=strict`` also says ``Policy=strict``."""
    return {
        label: extension[key.removesuffix("Label")]
        for key, label in extension.items()
        if label and _LABEL.fullmatch(key) and key.removesuffix("Label") in extension
    }


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda m: _ESCAPES.get(m[1], m[1]), text)
