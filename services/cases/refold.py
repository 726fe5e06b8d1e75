"""The log folded stream by stream: every document is made once, however many events it has.

What an event does to another incident's document (a link, a merge) is put in at its position, so
the result is that of the log's one order.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.cases.evidence.projection import EvidenceRows
from services.cases.postgres import COLUMNS, keys_for, opened, recorded
from services.cases.review.codec import REVIEW_TYPES
from services.cases.review.projection import ReviewBatch
from services.cases.rows import Entry, Opened, Rows, save_splits
from services.cases.sealing.box import Keys
from services.cases.sealing.vault import Vault
from services.cases.store import Recorded, RecordedEvidence, RecordedReview
from services.cases.views.links import change_other, other_end

__all__ = ["PAGE", "PATIENCE", "Folder", "Made", "Page", "others_until", "page", "rest_until"]

PAGE = 5_000
PATIENCE = 6 * 3600.0  # seconds for one statement: an index over a large view takes its time

# The types are written out so that the partial index `events_of_two_incidents` serves.
_OTHERS = f"""
    SELECT {COLUMNS} FROM events
    WHERE type IN ('IncidentLinked.v1', 'IncidentUnlinked.v1', 'IncidentMerged.v1',
                   'IncidentUnmerged.v1', 'IncidentReopened.v1') AND position <= $1
    ORDER BY position
"""  # noqa: S608 - constants only
_PAGE = f"""
    SELECT {COLUMNS} FROM events
    WHERE (stream_id, version) > ($1, $2) AND position <= $3
    ORDER BY stream_id, version LIMIT $4
"""  # noqa: S608 - constants only

_REST = f"""
    SELECT {COLUMNS} FROM events
    WHERE type = ANY($1) AND position > $2 AND position <= $3 ORDER BY position LIMIT $4
"""  # noqa: S608 - constants only

Others = Mapping[UUID, Sequence[Recorded]]


@dataclass(slots=True)
class Made:
    """Rows that are complete."""

    incidents: list[Opened] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    evidence: EvidenceRows = field(default_factory=EvidenceRows)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of the log, and the keys that open them."""

    rows: Sequence[Any]
    keys: Keys


async def others_until(driver: Any, vault: Vault, position: int) -> Others:
    """Return the events that concern two incidents, by the id of the other one, in log order."""
    found: dict[UUID, list[Recorded]] = defaultdict(list)
    cursor = await driver.cursor(_OTHERS, position, timeout=PATIENCE)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE):
        for event in await opened(vault, rows, driver):
            if isinstance(event, Recorded) and (other := other_end(event.event)) is not None:
                found[other].append(event)
    return found


async def page(driver: Any, vault: Vault, after: tuple[UUID, int], until: int) -> Page:
    """Return the next rows of the log up to position *until*, stream by stream."""
    rows: Sequence[Any] = await driver.fetch(_PAGE, *after, until, PAGE, timeout=PATIENCE)
    return Page(rows, await keys_for(vault, rows, driver))


async def rest_until(driver: Any, vault: Vault, writing: Any, position: int) -> None:
    """Project what several streams may claim, in the log's order and into indexed tables.

    Reviews and what was split off: the first to name an id has it. They are few.
    """
    after, types = 0, ["IncidentSplit.v1", "ReviewStarted.v1", *REVIEW_TYPES]
    while rows := await driver.fetch(_REST, types, after, position, PAGE, timeout=PATIENCE):
        after = rows[-1]["position"]
        events = await opened(vault, rows, driver)
        of_incidents = [r for r in events if isinstance(r, Recorded)]
        async with writing.transaction():
            await ReviewBatch().apply(
                writing, of_incidents, [r for r in events if isinstance(r, RecordedReview)]
            )
            await save_splits(writing, of_incidents)


class Folder:
    """Takes the log page by page; holds one incident and one item of evidence at a time.

    The events of reviews are passed over: `rest_until` takes them.
    """

    def __init__(self, others: Others) -> None:
        self._others = others
        self._waiting: Iterator[Recorded] = iter(())
        self._following: Recorded | None = None
        self._key: UUID | None = None
        self._rows = Rows()
        self._evidence = EvidenceRows()

    def take(self, page: Page) -> Made:
        """Fold a page; return what it completes: the rows of a stream come with its last event."""
        made = Made()
        for row in page.rows:
            event = recorded(row, page.keys)
            if event.stream_id != self._key:
                self._complete(made)
                self._key = event.stream_id
                if isinstance(event, Recorded):
                    self._begin(event.stream_id)
            if isinstance(event, RecordedEvidence):
                self._evidence.take(event)
            elif isinstance(event, Recorded):
                self._others_before(event.position)
                made.entries.append(self._rows.own(event))
        return made

    def rest(self) -> Made:
        """Return what was still open when the log ended."""
        made = Made()
        self._complete(made)
        return made

    def _begin(self, key: UUID) -> None:
        self._waiting = iter(self._others.get(key, ()))
        self._following = next(self._waiting, None)

    def _others_before(self, position: int | None) -> None:
        """Apply what other incidents did to this one before *position*, or all of it for None."""
        while (r := self._following) is not None and (position is None or r.position < position):
            for key, document in self._rows.documents.items():  # none before it was opened
                self._rows.documents[key] = change_other(document, r)
            self._following = next(self._waiting, None)

    def _complete(self, made: Made) -> None:
        self._others_before(None)
        made.incidents += self._rows.incidents()
        made.evidence.add(self._evidence)
        self._rows, self._evidence = Rows(), EvidenceRows()
