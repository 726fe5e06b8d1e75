"""Escalation policies: who is paged when nobody answers, as a pure state machine (§6)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

__all__ = ["Chain", "PagingPolicy", "Step", "Turn", "acknowledged", "begin", "turn"]


@dataclass(frozen=True, slots=True)
class Step:
    """*after* so long since the round began, without an answer, these are paged."""

    after: timedelta
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PagingPolicy:
    """Steps in order, gone through 1 + *repeat* times; *pause* is between two rounds.

    After the last round the *fallback* is paged, one after the other with *pause* between.
    """

    name: str
    steps: tuple[Step, ...]
    repeat: int
    pause: timedelta
    fallback: tuple[str, ...]

    @property
    def turns(self) -> tuple[tuple[timedelta, tuple[str, ...]], ...]:
        """Return every page that nobody's answer leads to: how long after the start, to whom."""
        found: list[tuple[timedelta, tuple[str, ...]]] = []
        length = self.steps[-1].after + self.pause
        for number in range(self.repeat + 1):
            found += [(number * length + step.after, step.targets) for step in self.steps]
        for number, target in enumerate(self.fallback):
            found.append(((self.repeat + 1) * length + number * self.pause, (target,)))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Chain:
    """How far the paging for one cause has got; *due* is None once it is over."""

    started: datetime
    position: int = 0
    due: datetime | None = None
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done now: page *targets* (of the turn *number*), and be in *chain* then."""

    number: int
    targets: tuple[str, ...]
    chain: Chain


def begin(policy: PagingPolicy, now: datetime) -> Chain:
    """Return a chain at its first step."""
    return Chain(started=now, due=now + policy.turns[0][0])


def turn(policy: PagingPolicy, chain: Chain, now: datetime) -> Turn | None:
    """Return the turn that is due at *now*; None if none is.

    Turns are never skipped, however late it is: after a long pause the next follows at once. But
    nobody is asked for an answer in no time: the following one keeps its distance from *now*.
    """
    if chain.due is None or chain.due > now:
        return None
    turns = policy.turns
    if chain.position >= len(turns):
        return Turn(chain.position, (), replace(chain, due=None, ended="exhausted"))
    offset, targets = turns[chain.position]
    following = chain.position + 1
    wait = turns[following][0] - offset if following < len(turns) else policy.pause
    return Turn(chain.position, targets, replace(chain, position=following, due=now + wait))


def skip(policy: PagingPolicy, chain: Chain, now: datetime) -> Chain:
    """Return *chain* when the turn just taken reached nobody: the next one is due at once (§6)."""
    return replace(chain, due=now) if chain.ended is None else chain


def acknowledged(chain: Chain) -> Chain:
    """Return *chain* after an answer: over, unless it was over before."""
    return chain if chain.ended else replace(chain, due=None, ended="acknowledged")


def policy_for(policies: Mapping[str, PagingPolicy], severity: str | None) -> PagingPolicy:
    """Return the policy of *severity*; ``default`` where none is named or known."""
    return policies.get(severity or "default", policies["default"])
