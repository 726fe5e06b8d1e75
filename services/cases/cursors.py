"""Cursors: numbers that a client carries from page to page without looking inside."""

import base64
import binascii

from shared.problems import ProblemError

__all__ = ["cursor_of", "numbers_of"]

LAST = 2**63 - 1


def cursor_of(*numbers: int) -> str:
    """Return the cursor that stands for *numbers*."""
    return base64.urlsafe_b64encode(".".join(map(str, numbers)).encode()).decode()


def numbers_of(cursor: str, count: int) -> tuple[int, ...]:
    """Return the *count* numbers, none negative, of a cursor; 422 for one that is not from here."""
    try:
        found = tuple(map(int, base64.urlsafe_b64decode(cursor.encode()).decode().split(".")))
    except (ValueError, binascii.Error) as error:
        raise ProblemError(422, "malformed", "That is no cursor from here.") from error
    if len(found) != count or not all(0 <= number <= LAST for number in found):
        raise ProblemError(422, "malformed", "That is no cursor from here.")
    return found
