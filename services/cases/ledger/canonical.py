"""JSON as RFC 8785 (JCS) wants it: one text for one value, so that a hash means the value.

One deviation: an integer beyond 2^53 keeps its digits, where the RFC would round it to a double.
Log events carry 64-bit record numbers, and whoever checks a hash hashes the text that is there.
"""

import math
from json.encoder import encode_basestring
from typing import Any

__all__ = ["canonical", "number"]


def number(value: float) -> str:
    """Return *value* as ECMAScript's Number.prototype.toString writes it."""
    if not math.isfinite(value):
        raise ValueError("JSON has no NaN and no infinity")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + ("" if fraction == "0" else fraction)).lstrip("0")
    # Where the decimal point stands, counted from the first digit.
    point = len(whole) + int(exponent or 0)
    if whole == "0":
        point -= 1 + len(fraction) - len(fraction.lstrip("0"))
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"{point - 1:+d}"
    return f"{sign}{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e{power}"


def _order(key: str) -> bytes:
    return key.encode("utf-16-be")


def canonical(value: Any) -> str:
    """Return the canonical text of a value made of dict, list, str, int, float, bool and None."""
    match value:
        case str():
            return encode_basestring(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return number(value)
        case dict():
            members = (
                f"{encode_basestring(key)}:{canonical(value[key])}"
                for key in sorted(value, key=_order)
            )
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(canonical, value)) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} is nothing that JSON has")
