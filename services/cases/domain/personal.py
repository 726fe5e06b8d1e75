"""What of an event may be about somebody: said on each field of text, once, where it is declared.

Free text and what names people is sealed when it is stored, so that it can be erased (I10). Every
field of text says one of the names below; a test refuses one that says none.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

__all__ = [
    "PERSON_TYPES", "Content", "FreeData", "FreeText", "Person", "Plain", "PlainData", "PlainTable",
    "Seal", "Value", "person_of",
]  # fmt: skip


class Seal(StrEnum):
    """How a field is sealed; every one but NONE under the key of its incident."""

    NONE = "none"
    TEXT = "text"
    PERSON = "person"
    """The value is a person: under that person's key as well."""
    VALUE = "value"
    """Under the key of the person as well whom it is about, if the ``type`` beside it says so."""
    CONTENT = "content"
    """Under the keys of all persons as well whom the ``entities`` beside it name."""


Plain = Annotated[str, Seal.NONE]
"""Ids, names of vocabularies, policies, services, regions, tenants, rules and weaknesses."""
PlainData = Annotated[Mapping[str, Any], Seal.NONE]
PlainTable = Annotated[Mapping[str, str], Seal.NONE]
FreeText = Annotated[str, Seal.TEXT]
FreeData = Annotated[Mapping[str, Any], Seal.TEXT]
Person = Annotated[str, Seal.PERSON]
Value = Annotated[str, Seal.VALUE]
Content = Annotated[Mapping[str, Any], Seal.CONTENT]

PERSON_TYPES = frozenset({
    "email", "email-addr", "email_address", "person", "user", "user-account",
    "user_account", "username",
})  # fmt: skip
"""Types of entities and indicators whose value is a person (STIX 2.1, and those of detect)."""


def person_of(name: str) -> str:
    """Return the one spelling of a person's name or address by which the key is found."""
    return " ".join(name.casefold().split())
