"""Values turned into what attackers turn them into: UTF-16, Base64, Windows option dashes."""

import base64
from itertools import product

from .modifiers import UTF16
from .text import DASHES

MAX_VARIANTS = 3_125  # five dashes to the power of five places


def variants(literal: str, steps: tuple[str, ...]) -> list[str]:
    """Return the texts that *literal* becomes by *steps*, or raise ValueError with the reason.

    The chain was checked: whatever becomes bytes on the way ends as Base64.
    """
    values: list[str | bytes] = [literal]
    for step in steps:
        if step == "windash":
            values = [dashed for value in values for dashed in _dashes(str(value))]
        elif step in UTF16:
            values = [_utf16(str(value), step) for value in values]
        elif step == "base64":
            values = [base64.b64encode(_bytes(value)).decode() for value in values]
        else:
            values = [piece for value in values for piece in _offsets(_bytes(value))]
    return [str(value) for value in values]


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else value


def _utf16(value: str, step: str) -> bytes:
    # The codec "utf-16" would follow the machine's byte order; Sigma's mark is FF FE.
    return b"\xff\xfe" + value.encode("utf-16-le") if step == "utf16" else value.encode(UTF16[step])


def _offsets(value: bytes) -> list[str]:
    """Return what Base64 makes of *value* at each of the three places it can start.

    The characters at both ends that also depend on the neighbours are cut off.
    """
    pieces: list[str] = []
    for shift in range(3):
        encoded = base64.b64encode(b" " * shift + value).decode()
        start = (0, 2, 3)[shift]
        end = (None, -3, -2)[(len(value) + shift) % 3]
        pieces.append(encoded[start:end])
    if not all(pieces):
        raise ValueError("value is too short for base64offset: nothing of it would be left")
    return pieces


def _dashes(value: str) -> list[str]:
    places = [DASHES if char in DASHES else char for char in value]
    if len(DASHES) ** sum(len(place) > 1 for place in places) > MAX_VARIANTS:
        raise ValueError("too many dashes to encode every way of writing them")
    return ["".join(chosen) for chosen in product(*places)]
