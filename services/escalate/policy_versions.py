"""Versions of the policies: proposed by one person, put in force by another, kept for ever (§2.1).

The file that a service starts with is in force until a version is approved; then the newest
approved one is. Old results name a digest, under which their policy is found here word for word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.file_spots import FileError
from services.escalate.policy import SeverityPolicy, parse_severity_policy
from services.escalate.priority import PriorityPolicy, parse_priority_policy
from services.escalate.proposal import Policies
from services.escalate.severity import InputError, assess
from shared.cloudevents import outgoing
from shared.contracts.escalate import PolicyChangedV1
from shared.errors import UserError
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = [
    "Effect", "Kind", "PolicyBook", "PolicyRefusedError", "Refused", "effect_of", "parsed",
]  # fmt: skip

Kind = Literal["severity", "priority"]
Change = Literal["proposed", "approved", "rejected"]
Policy = SeverityPolicy | PriorityPolicy
MOST_COMPARED = 1_000
_PARSERS: Mapping[Kind, Callable[[str, str], Policy]] = {
    "severity": parse_severity_policy,
    "priority": parse_priority_policy,
}
_COLUMNS = (
    "policy, version, digest, status, author, reason, proposed_at, decided_by, decided_at,"
    " decision_reason"
)
_KNOW = text(
    "INSERT INTO policy_versions (policy, version, digest, content, status, author, reason,"
    " proposed_at) VALUES (:policy, :version, :digest, :content, :status, :author, :reason, :now)"
    " ON CONFLICT (policy, digest) DO NOTHING"
)
_ACTIVE = text("SELECT policy, digest, content FROM policy_versions WHERE status = 'active'")
_LISTED = text(
    f"SELECT {_COLUMNS} FROM policy_versions WHERE policy = :policy"  # noqa: S608 - our own names
    " ORDER BY proposed_at DESC, digest LIMIT 200"
)
_FOUND = text(
    f"SELECT {_COLUMNS}, content FROM policy_versions"  # noqa: S608 - our own names
    " WHERE policy = :policy AND (version = :name OR digest = :name)"
    " ORDER BY proposed_at DESC LIMIT 1"
)
_TAKEN = text("SELECT 1 FROM policy_versions WHERE policy = :policy AND version = :version LIMIT 1")
_PENDING = text(
    "SELECT version, digest, author, content FROM policy_versions WHERE policy = :policy"
    " AND version = :version AND status = 'proposed' FOR UPDATE"
)
_RETIRE = text(
    "UPDATE policy_versions SET status = 'retired' WHERE policy = :policy AND status = 'active'"
)
_DECIDE = text(
    "UPDATE policy_versions SET status = :status, decided_by = :who, decided_at = :now,"
    " decision_reason = :reason WHERE policy = :policy AND digest = :digest"
)
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('policy ' || :policy, 0))")
_PAST = text(
    "SELECT proposal FROM detection_groups WHERE proposed_at IS NOT NULL"
    " ORDER BY proposed_at DESC LIMIT :n"
)


class PolicyRefusedError(UserError):
    """The text is no policy, or lacks a word that proposals use; ``line`` is where, if known."""

    def __init__(self, reason: str, line: int | None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a decision on a version is not taken."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What a severity policy would have made of the latest proposals (what-if)."""

    compared: int
    raised: int
    lowered: int
    not_comparable: int


def parsed(kind: Kind, content: str, source: str, base: Policies) -> Policies:
    """Return *base* with the policy in *content*; PolicyRefusedError says where it is wrong."""
    try:
        return _with(base, _PARSERS[kind](content, source))
    except FileError as error:
        raise PolicyRefusedError(str(error), error.line) from error
    except UserError as error:
        raise PolicyRefusedError(str(error), None) from error


def _with(base: Policies, policy: Policy) -> Policies:
    if isinstance(policy, SeverityPolicy):
        return replace(base, severity=policy)
    return replace(base, priority=policy)


def effect_of(policy: SeverityPolicy, past: list[Mapping[str, Any]]) -> Effect:
    """Return how *policy* would have judged the severities in *past*."""
    raised = lowered = failed = 0
    for severity in past:
        try:
            level = assess(policy, severity["inputs"]).level
        except InputError:
            failed += 1
            continue
        raised += level < severity["level"]
        lowered += level > severity["level"]
    return Effect(len(past) - failed, raised, lowered, failed)


class PolicyBook:
    """The policies in force, read again from the database, and every version there ever was."""

    def __init__(self, engine: AsyncEngine, base: Policies) -> None:
        self._engine, self._base, self._known = engine, base, False
        self.current = base

    async def refresh(self, now: datetime) -> None:
        """Bring `current` in line with what is approved; remember the files of this service."""
        async with self._engine.begin() as connection:
            if not self._known:
                await self._remember_files(connection, now)
            active = (await connection.execute(_ACTIVE)).all()
        self._known = True
        policies = self._base
        for row in active:
            if getattr(self.current, row.policy).digest == row.digest:
                policies = _with(policies, getattr(self.current, row.policy))
            else:
                policies = parsed(row.policy, row.content, "approved version", policies)
        self.current = policies

    def rebase(self, **parts: Any) -> None:
        """Put *parts* of the operator's files in force: directory, routing or paging."""
        self._base = replace(self._base, **parts)
        self.current = replace(self.current, **parts)

    async def _remember_files(self, connection: AsyncConnection, now: datetime) -> None:
        for kind in _PARSERS:
            policy = getattr(self._base, kind)
            row = {
                "policy": kind, "version": policy.version, "digest": policy.digest,
                "content": orjson.dumps(policy.content(), option=orjson.OPT_INDENT_2).decode(),
                "status": "file", "author": "operator", "reason": "file of the service",
                "now": now,
            }  # fmt: skip
            await connection.execute(_KNOW, row)

    async def versions(self, kind: Kind) -> list[dict[str, Any]]:
        """Return what is known of all versions, newest first, and which is in force."""
        in_force = getattr(self.current, kind).digest
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_LISTED, {"policy": kind})).mappings()
            return [{**row, "in_force": row["digest"] == in_force} for row in rows]

    async def version(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """Return one version by its name or digest, with its text; None if there is none."""
        async with self._engine.connect() as connection:
            found = await connection.execute(_FOUND, {"policy": kind, "name": name})
            row = found.mappings().one_or_none()
            return dict(row) if row else None

    async def policies_of(self, kind: Kind, name: str | None) -> Policies | None:
        """Return the policies with version *name* of *kind* in place; None if there is none."""
        if name is None:
            return self.current
        row = await self.version(kind, name)
        return parsed(kind, row["content"], name, self.current) if row else None

    async def propose(
        self, kind: Kind, content: str, author: str, reason: str, now: datetime
    ) -> dict[str, Any] | Refused:
        """Keep a new version for somebody else to approve; PolicyRefusedError if it is wrong."""
        policy = getattr(parsed(kind, content, "text", self._base), kind)
        async with self._engine.begin() as connection:
            await connection.execute(_ALONE, {"policy": kind})
            named = {"policy": kind, "version": policy.version}
            if await connection.scalar(_TAKEN, named):
                return Refused("version_taken", f"There is a version {policy.version} already.")
            row = {
                **named, "digest": policy.digest, "content": content, "status": "proposed",
                "author": author, "reason": reason, "now": now,
            }  # fmt: skip
            if (await connection.execute(_KNOW, row)).rowcount == 0:
                return Refused("unchanged", "A version with exactly this content is known.")
            await _tell(connection, policy, "proposed", author, author, reason, now)
            past = [
                orjson.loads(found.proposal)["severity"]
                for found in await connection.execute(_PAST, {"n": MOST_COMPARED})
            ]
        shown = {"policy": kind, "version": policy.version, "digest": policy.digest}
        effect = effect_of(policy, past) if isinstance(policy, SeverityPolicy) else None
        return {**shown, "status": "proposed", "author": author, "effect": effect}

    async def decide(
        self, kind: Kind, version: str, who: str, reason: str, now: datetime, *, approve: bool
    ) -> Refused | None:
        """Put a proposed version in force, or reject it; who wrote it does not approve it."""
        async with self._engine.begin() as connection:
            await connection.execute(_ALONE, {"policy": kind})
            found = await connection.execute(_PENDING, {"policy": kind, "version": version})
            row = found.one_or_none()
            if row is None:
                return Refused("not_proposed", "No version of that name waits for a decision.")
            if approve and row.author == who:
                return Refused("approver_is_author", "Another person than its author approves it.")
            policy = getattr(parsed(kind, row.content, version, self._base), kind)
            if approve:
                await connection.execute(_RETIRE, {"policy": kind})
            decision = {
                "policy": kind, "digest": row.digest, "who": who, "reason": reason, "now": now,
                "status": "active" if approve else "rejected",
            }  # fmt: skip
            await connection.execute(_DECIDE, decision)
            change: Change = "approved" if approve else "rejected"
            await _tell(connection, policy, change, row.author, who, reason, now)
        await self.refresh(now)
        return None


async def _tell(
    connection: AsyncConnection,
    policy: Policy,
    change: Change,
    author: str,
    who: str,
    reason: str,
    now: datetime,
) -> None:
    event = PolicyChangedV1(
        event_id=derived_id("policy-changed", policy.name, policy.digest, change),
        occurred_at=now,
        policy=policy.name,
        version=policy.version,
        digest=policy.digest,
        change=change,
        author=author,
        decided_by=None if change == "proposed" else who,
        reason=reason,
    )
    await enqueue(connection, [outgoing(event, source="escalate")])
