"""What notify copied of an incident is erased when cases says so; what was sent is kept as proof.

Drafts, titles and summaries go at once. A message that left is the proof that a duty was done, and
a defence against claims (GDPR Art. 17(3)(b) and (e)): its words and recipients stay until the
proof's retention ends, its SHA-256, its tenant and the fact of sending for good (docs/adr/0023).
"""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify import incidents
from services.notify.draft_erasure import blot_drafts
from shared.clock import Clock
from shared.contracts.cases import ERASED, IncidentErasedV1

__all__ = ["Eraser", "digest_of", "erase"]

BATCH = 200
_TEXTS = ("title", "summary", "potential_impact")
_NOTED = text(
    "INSERT INTO erasures (incident_id, erasure_id, basis, reference, erased_at)"
    " VALUES (:incident, :erasure, :basis, :reference, :at) ON CONFLICT (incident_id) DO UPDATE"
    " SET erasure_id = EXCLUDED.erasure_id, basis = EXCLUDED.basis,"
    " reference = EXCLUDED.reference, erased_at = EXCLUDED.erased_at"
)
_DRAFTS = text("SELECT version, fields FROM notices WHERE incident_id = :incident")
_DRAFT = text(
    "UPDATE notices SET fields = :fields WHERE incident_id = :incident AND version = :version"
)
# A correction that waits for its second signature is still owed: it goes out first.
_STATEMENTS = text(
    "UPDATE corrections c SET statement = :erased FROM erasures e"
    " WHERE e.incident_id = c.incident_id AND c.written_at <= e.erased_at"
    " AND c.approved_at IS NOT NULL AND c.statement <> :erased"
)
# What is under way goes out first, too. What never left is nobody's proof.
_MESSAGES = text(
    "SELECT notification_id, channel, content, content_sha256, left_at IS NULL"
    " OR left_at <= :kept_since AS ends FROM ("
    " SELECT n.*, CASE WHEN n.sent_at IS NOT NULL OR n.state = 'bounced' OR n.accepted <> '{}'"
    " THEN coalesce(n.sent_at, n.created_at) END AS left_at"
    " FROM notifications n JOIN erasures e USING (incident_id)"
    " WHERE n.created_at <= e.erased_at AND n.text_erased_at IS NULL"
    " AND n.state NOT IN ('pending', 'sending')) m"
    " WHERE content_sha256 IS NULL OR left_at IS NULL OR left_at <= :kept_since"
    " ORDER BY notification_id LIMIT :n"
)
_LOCK = text("SELECT state FROM notifications WHERE notification_id = :id FOR UPDATE")
_DIGEST = text("UPDATE notifications SET content_sha256 = :digest WHERE notification_id = :id")
_BLOT = text(
    "UPDATE notifications SET content_sha256 = :digest, content = :content,"
    " recipients = :recipients, accepted = '{}', last_error = NULL, text_erased_at = :now,"
    " proof = CASE WHEN proof IS NULL THEN NULL ELSE :erased END"
    " WHERE notification_id = :id"
)
_ANSWERS = text(
    "UPDATE attempts SET recipients = '{}',"
    " answer = CASE WHEN answer IS NULL THEN NULL ELSE :erased END WHERE notification_id = :id"
)
_BOUNCES = text("DELETE FROM bounces WHERE notification_id = :id")
_READER = text("UPDATE acknowledgements SET acknowledged_by = :erased WHERE notification_id = :id")
# A form goes with the draft that it was made from; its digests stay.
_FORMS = text(
    "SELECT blot_form(obligation_id, step, :now) FROM ("
    " SELECT f.obligation_id, f.step FROM obligation_forms f JOIN obligation_steps d"
    " USING (obligation_id) WHERE f.text_erased_at IS NULL AND d.erased_at IS NOT NULL"
    " AND d.step = (SELECT max(x.step) FROM obligation_steps x WHERE x.kind = 'draft'"
    " AND x.obligation_id = f.obligation_id AND x.step < f.step)"
    " ORDER BY f.obligation_id, f.step LIMIT :n) spent"
)
_CONTENT = json.dumps({"subject": ERASED, "text": ERASED, "body": "{}"})
_RECIPIENTS = json.dumps({"to": [], "secret_ref": None, "alternates": []})

_erasures = Counter("tocsin_notify_erasures_total", "Incidents erased here")


async def erase(connection: AsyncConnection, event: IncidentErasedV1, now: datetime) -> bool:
    """Erase drafts and facts of an incident; tell whether there is more for `Eraser` to do.

    Of a person nothing is done: what notify has of persons are recipients, who are proof, and those
    who decided. Once more changes nothing.
    """
    if event.scope != "incident":
        return False
    if await incidents.find(connection, event.incident_id) is None:
        return False  # what comes of it later says "erased" already
    await incidents.note(connection, event, facts=dict.fromkeys(_TEXTS, ERASED))
    incident = {"incident": event.incident_id}
    for draft in (await connection.execute(_DRAFTS, incident)).all():
        fields = json.dumps(dict.fromkeys(json.loads(draft.fields), ERASED))
        await connection.execute(_DRAFT, {**incident, "version": draft.version, "fields": fields})
    values = {
        "erasure": event.erasure_id,
        "basis": event.basis,
        "reference": event.reference,
        "at": now,
    }
    await connection.execute(_NOTED, {**incident, **values})
    _erasures.inc()
    return True


class Eraser:
    """Goes through the messages of erased incidents; `once` is the work of a reconciler."""

    def __init__(self, engine: AsyncEngine, clock: Clock, proof: timedelta) -> None:
        self._engine, self._clock, self._proof = engine, clock, proof

    async def once(self) -> int:
        """Take the next messages; return how many it was."""
        now = self._clock()
        values: dict[str, Any] = {"kept_since": now - self._proof, "n": BATCH}
        async with self._engine.begin() as connection:
            await connection.execute(_STATEMENTS, {"erased": ERASED})
            rows = (await connection.execute(_MESSAGES, values)).all()
            for row in rows:
                await _take(connection, row, now)
            drafts = await blot_drafts(connection, now, values["kept_since"])
            forms = await connection.execute(_FORMS, {"now": now, "n": BATCH})
        return len(rows) + drafts + len(forms.all())


async def _take(connection: AsyncConnection, row: Any, now: datetime) -> None:
    key = {"id": row.notification_id}
    state = await connection.scalar(_LOCK, key)
    if state in ("pending", "sending"):
        return  # somebody had it sent again meanwhile
    digest = row.content_sha256 or digest_of(row.channel, json.loads(row.content))
    if not row.ends:
        await connection.execute(_DIGEST, {**key, "digest": digest})
        return
    words = {"digest": digest, "content": _CONTENT, "recipients": _RECIPIENTS, "now": now}
    await connection.execute(_BLOT, {**key, **words, "erased": ERASED})
    for statement in (_ANSWERS, _READER):
        await connection.execute(statement, {**key, "erased": ERASED})
    await connection.execute(_BOUNCES, key)


def digest_of(channel: str, content: dict[str, str]) -> str:
    """Return the SHA-256 of what left: the text of an e-mail, the body of a webhook."""
    told = content["body" if channel == "webhook" else "text"]
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
