"""The notices that a list lets out: planned, drafted, and what they lack; nothing is sent here."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.affected_lists import listed_tenants
from services.notify.incidents import Incident
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.known import known_of
from services.notify.message import REQUIRED, Draft, compose
from services.notify.notice_plan import Planned, Variant, plan, variants
from services.notify.notices import WrittenNotice, newest_notice
from services.notify.obligations.regimes import Regimes
from services.notify.scope import Confidence
from services.notify.settings import Settings
from services.notify.wording.catalogue import Catalogue

__all__ = ["Gap", "ToSend", "notices_to_send"]

# What cannot be ruled out asks for nothing yet: it stays on the board until somebody decides it.
_OWED = text(
    "SELECT tenant, regime, phase FROM obligation_board WHERE incident_id = :incident"
    " AND tenant IS NOT NULL AND recipient = 'tenant' AND holder = 'provider'"
    " AND stage IN ('triggered', 'drafted', 'approved') ORDER BY due_at, regime, phase"
)


@dataclass(frozen=True, slots=True)
class Gap:
    """A required field that a notice does not have, and who asks for it."""

    name: str
    asked_by: tuple[str, ...]
    tenants: int
    locale: str

    def sentence(self) -> str:
        """Return it for people."""
        who = f", which {' and '.join(self.asked_by)} asks for" if self.asked_by else ""
        return f"The notice ({self.locale}, {self.tenants} messages) has no {self.name}{who}."


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSend:
    """Messages by what they say, the draft of each, and the tenants on the list."""

    planned: Mapping[Variant, Sequence[Planned]]
    drafts: Mapping[Variant, Draft]
    listed: Mapping[str, tuple[Confidence, Mapping[str, Any]]]
    written: WrittenNotice | None

    @property
    def author(self) -> str | None:
        return self.written.author if self.written else None

    def missing(self) -> list[Gap]:
        """Return every required field that is absent, each once for a draft."""
        return [gap for variant in self.planned for gap in self.gaps(variant)]

    def erased(self) -> list[str]:
        """Return the fields whose words were erased, each once."""
        return list(dict.fromkeys(name for one in self.drafts.values() for name in one.erased))

    def gaps(self, variant: Variant) -> Iterator[Gap]:
        """Yield the required fields that the notices of *variant* do not have."""
        messages = self.planned[variant]
        for name in self.drafts[variant].missing:
            asked = [d.regime for one in messages for d in one.demands if name in d.content]
            by = () if name in REQUIRED else tuple(dict.fromkeys(asked))
            if not by and name not in REQUIRED:
                by = (f"template {variant.template.id}",)
            yield Gap(name, by, len(messages), variant.template.locale)


async def notices_to_send(
    connection: AsyncConnection,
    incident: Incident,
    *,
    list_id: UUID,
    keeper: InventoryKeeper,
    version: str,
    told: Iterable[tuple[str, str]],
    settings: Settings,
    regimes: Regimes,
    wording: Catalogue,
) -> ToSend:
    """Return what would leave for the list now, but for those that were *told* by a channel.

    *version* is that of the inventory which the list was compiled from.
    """
    listed = await listed_tenants(connection, list_id)
    known_as = await keeper.tenants(connection, version, listed)
    rows = (await connection.execute(_OWED, {"incident": incident.id})).all()
    written = await newest_notice(connection, incident.id)
    known = await known_of(connection, incident, settings)

    def work() -> ToSend:
        owed: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for row in rows:
            owed[row.tenant].append((row.regime, row.phase))
        tenants = [known_as[name] for name in listed]
        planned = variants(plan(tenants, owed, told, regimes, wording))
        words, author = (written.fields, written.author) if written else ({}, "")
        drafts = {
            variant: compose(variant.names, variant.template, wording, known, words, author)
            for variant in planned
        }
        return ToSend(planned=planned, drafts=drafts, listed=listed, written=written)

    return await asyncio.to_thread(work)
