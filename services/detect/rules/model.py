"""What a compiled Sigma rule is: immutable data, complete when loaded, nothing left to compile."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .regex import Regex
from .text import Kind, Parts

# Keyword items name no field: they are asked of every value of the event.
ANYWHERE = ""


class RefusedError(Exception):
    """A rule's text is not acceptable, at *line*, because of *reason*."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class RuleError(Exception):
    """A document of *path* gave no rule; *unsupported* means valid Sigma of a kind not taken."""

    def __init__(self, path: str, line: int, reason: str, *, unsupported: bool = False) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason
        self.unsupported = unsupported


class Level(StrEnum):
    """How much a hit matters, as the rule's author judged it."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Status(StrEnum):
    """How far the rule's author trusts it."""

    STABLE = "stable"
    TEST = "test"
    EXPERIMENTAL = "experimental"
    DEPRECATED = "deprecated"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class LogSource:
    """Which log something belongs to; an absent part means any. Parts are lower case."""

    product: str | None = None
    category: str | None = None
    service: str | None = None

    def __post_init__(self) -> None:
        for part in ("product", "category", "service"):
            value = getattr(self, part)
            object.__setattr__(self, part, value.lower() if value else None)

    @classmethod
    def of(cls, parts: Mapping[str, object]) -> "LogSource":
        """Return the logsource of an envelope's {product, category, service}; no text is none."""
        found = (parts.get(name) for name in ("product", "category", "service"))
        return cls(*(part if isinstance(part, str) else None for part in found))

    def within(self, wider: "LogSource") -> bool:
        """Return whether every part that *wider* names is the same here."""
        return (
            wider.product in (None, self.product)
            and wider.category in (None, self.category)
            and wider.service in (None, self.service)
        )


class Order(StrEnum):
    """How a number of the event stands to the number of the rule."""

    EQ = "eq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"


class DatePart(StrEnum):
    """The number taken out of a date, as written there: no time zone is converted."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Text:
    """The field's text against a literal, or a pattern where a wildcard lies inside the value.

    *literal* and *parts* are folded unless *cased*; with *dashes* all dash-like characters of the
    pattern and of the event are one and the same.
    """

    kind: Kind
    literal: str
    parts: Parts
    cased: bool
    dashes: bool
    regex: Regex | None
    shown: str


@dataclass(frozen=True, slots=True)
class Matches:
    """The field's text is searched for a regular expression."""

    regex: Regex
    shown: str


@dataclass(frozen=True, slots=True)
class Null:
    """The field is absent or null."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there, be it null or empty; or it is not."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """The field's number, or one part of its date, against a number."""

    order: Order
    number: int | float
    part: DatePart | None = None


@dataclass(frozen=True, slots=True)
class InNetwork:
    """The field's address lies in a network."""

    version: int
    network: int
    mask: int
    shown: str


@dataclass(frozen=True, slots=True)
class SameAs:
    """The field's text against the text of another field."""

    field: str
    kind: Kind
    cased: bool


Test = Text | Matches | Null | Exists | Compare | InNetwork | SameAs


@dataclass(frozen=True, slots=True)
class Item:
    """One field's tests: each group needs a test that holds.

    A plain list is one group, `|all` is a group a value. *negated* (`|neq`): the field is there
    and that does not hold. *op* is the modifier chain as written.
    """

    field: str
    op: str
    groups: tuple[tuple[Test, ...], ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every node holds."""

    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AtLeast:
    """At least *count* nodes hold; 1 is a plain or."""

    count: int
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The node does not hold."""

    node: "Node"


@dataclass(frozen=True, slots=True)
class Selection:
    """A search identifier of the rule, by name."""

    name: str
    node: "Node"


Node = Item | AllOf | AtLeast | Not | Selection


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule ready to be matched; *version* is the SHA-256 of its canonical content."""

    id: str
    title: str
    level: Level
    logsource: LogSource
    condition: Node
    version: str
    name: str | None = None
    status: Status | None = None
    description: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    path: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """What narrows other rules: *condition* must hold for an event besides theirs.

    *rules* are ids and names, None for every rule of *logsource*. *warning*: what is probably not
    meant, though it is understood.
    """

    id: str
    title: str
    logsource: LogSource
    rules: tuple[str, ...] | None
    condition: Node
    version: str
    warning: str = ""
    path: str = ""
    line: int = 1
