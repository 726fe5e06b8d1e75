"""The values inside commands and events: frozen, compared by content."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from services.cases.domain.personal import (
    Content,
    FreeText,
    Person,
    Plain,
    PlainData,
    PlainTable,
    Value,
)
from services.cases.domain.vocabulary import (
    ActorKind,
    FollowDependencies,
    MemberKind,
    Relation,
    Role,
    Severity,
    State,
)

__all__ = [
    "ALONE", "NOBODY", "NO_POLICY", "SYSTEM", "Actor", "Assessment", "Contribution", "Counterpart",
    "Criterion", "Detection", "Entity", "Member", "Phase", "Policy", "Scope", "Selector",
    "Surroundings", "indicator_id",
]  # fmt: skip

_INDICATORS = UUID("0a7b6d52-3a2f-5c0e-8d67-70c51a000002")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who gives a command; ``acting_for`` flags a duty manager who stands in for a role (§7)."""

    id: Plain
    roles: tuple[Plain, ...] = ()
    kind: ActorKind = ActorKind.PERSON
    acting_for: Plain | None = None

    def has(self, *roles: Role) -> bool:
        return any(role.value in self.roles for role in roles)


SYSTEM = Actor(id="tocsin", roles=(Role.SYSTEM.value,), kind=ActorKind.SYSTEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Whom or what a detection is about."""

    type: Plain
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A detection as it came in: ``content`` is the message verbatim (R29)."""

    detection_id: UUID
    rule_id: Plain
    entities: tuple[Entity, ...] = ()
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """Points that one severity criterion gave, and why."""

    criterion: Plain
    value: Plain
    points: int
    reason: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A computed severity with everything that explains it (R31b, §2)."""

    level: Severity
    points: int
    contributions: tuple[Contribution, ...] = ()
    floors_applied: tuple[Plain, ...] = ()
    unknown_inputs: tuple[Plain, ...] = ()
    inputs: PlainData
    policy: Plain
    version: Plain
    digest: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person on the v-team."""

    person: Person
    kind: MemberKind
    function: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Levels inside one selector are AND; a list of selectors is OR (§5)."""

    region: Plain | None = None
    datacenter: Plain | None = None
    service: Plain | None = None
    server_farm: Plain | None = None
    server: Plain | None = None
    tenant: Plain | None = None
    tags: PlainTable = field(default_factory=dict)

    def levels(self) -> frozenset[tuple[str, str]]:
        """Return the levels and tags that are named, each with its value."""
        named = {
            "region": self.region,
            "datacenter": self.datacenter,
            "service": self.service,
            "server_farm": self.server_farm,
            "server": self.server,
            "tenant": self.tenant,
        }
        tags = {f"tag {key}": value for key, value in self.tags.items()}
        return frozenset((level, v) for level, v in named.items() if v) | tags.items()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which part of the platform was affected, and when: half-open [from, to)."""

    include: tuple[Selector, ...]
    exclude: tuple[Selector, ...] = ()
    window_from: datetime | None = None
    window_to: datetime | None = None
    follow_dependencies: FollowDependencies = FollowDependencies.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One criterion of containment, ticked or not (R32a)."""

    text: FreeText
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart:
    """What the shell read of another incident that a command names; ``state`` None: no such one.

    ``leads_back``: it was merged into this one, directly or by way of others. ``claims``: the
    relations to this one that it holds itself.
    """

    state: State | None = None
    itself: bool = False
    leads_back: bool = False
    claims: frozenset[Relation] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase of the case and the fields that have to be filled before it is left (R29)."""

    state: State
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The case-management policy in force; without phases it demands nothing."""

    name: str = ""
    version: str = ""
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the shell read of the aggregates beside the incident, for its closing (I6).

    ``evidence_open``: id and sentence of each item that is not secured. ``review``: the state of
    the newest review. ``covered``: open actions that go on as improvement items of a review.
    """

    evidence_open: tuple[tuple[UUID, str], ...] = ()
    evidence_secured: int = 0
    review: str = "none"
    covered: frozenset[UUID] = frozenset()


NOBODY = Counterpart()
ALONE = Surroundings()
NO_POLICY = Policy()


def indicator_id(type_: str, value: str) -> UUID:
    """Return the id of an indicator: the same thing has the same id in every incident (R31d)."""
    return uuid5(_INDICATORS, f"{type_}\x1f{value}")
