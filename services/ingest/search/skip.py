"""Files that a search for text need not read, since their footer names every word in them. Pure.

A word is a run of letters; text is looked for anywhere, so a run of it may be a part of a word.
"""

import re
from collections.abc import Iterator

from services.ingest.search.language import And, Node, Or, Text, Value
from services.ingest.store.parquet import WORD

__all__ = ["asks_for_words", "rules_out"]

_RUN = re.compile(f"[a-zA-Z]{{{WORD},}}")


def rules_out(node: Node, words: str) -> bool:
    """Tell whether no event can be what *node* means, where these are the words of all events."""
    match node:
        case Text(value):
            return any(run not in words for run in _runs(value))
        case And(items):
            return any(rules_out(item, words) for item in items)
        case Or(items):
            return all(rules_out(item, words) for item in items)
        case _:
            return False


def asks_for_words(node: Node) -> bool:
    """Tell whether words could rule anything out."""
    match node:
        case Text(value):
            return next(_runs(value), None) is not None
        case And(items):
            return any(asks_for_words(item) for item in items)
        case Or(items):
            return all(asks_for_words(item) for item in items)
        case _:
            return False


def _runs(value: Value) -> Iterator[str]:
    """Yield the runs of letters that stand in every event with *value*, however JSON wrote it:
    an escape puts letters before or after a run, never into it."""
    for part, wild in zip(value.parts, value.wild, strict=True):
        if not wild:
            yield from (run.lower() for run in _RUN.findall(part))
