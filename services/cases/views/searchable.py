"""What an incident is found by: the words that a full-text search looks among."""

from collections.abc import Iterator

from services.cases.domain.vocabulary import Visibility
from services.cases.views import Document

__all__ = ["MOST_CHARACTERS", "people_of", "searchable"]

# PostgreSQL refuses a tsvector of more than 1 MiB; words and positions of this many always fit.
MOST_CHARACTERS = 100_000


def searchable(document: Document) -> str:
    """Return the text that *document* is searched by, without notes under legal privilege.

    What comes first counts even if the whole is too long: number and title before the notes.
    """
    words = " \n".join(part for part in _parts(document) if part)
    return words.replace("\0", " ")[:MOST_CHARACTERS]


def people_of(document: Document) -> list[str]:
    """Return who works on it: the v-team and the owners of open actions."""
    team = document["v_team"] or {"members": ()}
    owners = (a["owner"] for a in document["actions"] if a["status"] in ("open", "in_progress"))
    found = {*(member["person"] for member in team["members"]), *owners}
    return sorted(person.replace("\0", " ") for person in found)


def _parts(document: Document) -> Iterator[str]:
    yield document["number"]
    yield document["title"]
    yield from document["services"]
    yield from document["regions"]
    yield document["source"]["reason"]
    yield from document["source"]["refs"]
    if summary := document["summary"]:
        yield summary["summary"]
        yield summary["potential_impact"]
    for indicator in document["indicators"]:
        yield indicator["value"]
    yield from people_of(document)
    for action in document["actions"]:
        yield action["text"]
        yield action["result"]
    for recommendation in document["recommendations"]:
        yield recommendation["text"]
    for note in document["notes"]:
        if note["visibility"] != Visibility.LEGAL_PRIVILEGED.value:
            yield note["text"]
