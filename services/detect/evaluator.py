"""One evaluating process: it loads the rules itself, looks after their files, and answers blocks.

It ends when its pipe does, so that nothing is left behind where the service is killed.
"""

import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from services.detect.evaluate import Evaluated, block_id_in, evaluate_block, packed
from services.detect.in_force import InForce, load_in_force, signature_of
from services.detect.rules.cache import RuleCache
from services.detect.rules.load import ReadFiles
from shared.contracts.base import ContractError

__all__ = ["Ask", "Bad", "Failed", "Ready", "evaluate_whole", "serve"]

PATIENCE = 2.0  # seconds; a rule file is half written for less than that
# RE2 lets go of the interpreter with every search. Whoever loads or learns beside would keep it for
# the usual 5 ms each time, some seconds in a block of events.
SWITCH_SECONDS = 0.0001

_learning = threading.Lock()

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ask:
    """A block to evaluate, by the rules of *signature* if these can be had soon."""

    signature: str
    headers: Mapping[str, str]
    body: bytes
    now: datetime


@dataclass(frozen=True, slots=True)
class Ready:
    """The rules are loaded; *signature* is that of their files."""

    signature: str


@dataclass(frozen=True, slots=True)
class Bad:
    """The message is no block."""

    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The block could not be evaluated; *why* is for the log."""

    why: str


def serve(
    pipe: Connection,
    directories: Sequence[Path],
    reload_seconds: float,
    cache_folder: Path | None,
    partitions: int,
) -> None:
    """Answer what comes through *pipe* until it ends."""
    sys.setswitchinterval(SWITCH_SECONDS)
    rules = _Rules(directories, RuleCache(cache_folder) if cache_folder else None)
    gc.freeze()  # rules stay: the collector need not look at them with every block
    threading.Thread(target=rules.look_after, args=(reload_seconds,), daemon=True).start()
    pipe.send(Ready(rules.current.signature))
    while True:
        ask = pipe.recv()
        pipe.send(_answer(rules.of(ask.signature), ask, partitions))


def evaluate_whole(
    rules: InForce, headers: Mapping[str, str], body: bytes, now: datetime, partitions: int
) -> Evaluated:
    """Return what a block holds, matches packed; ContractError where it is none."""
    block_id = block_id_in(headers)
    return packed(rules, evaluate_block(rules, headers, body, now), block_id, partitions, now)


def _answer(rules: InForce, ask: Ask, partitions: int) -> Evaluated | Bad | Failed:
    try:
        return evaluate_whole(rules, ask.headers, ask.body, ask.now, partitions)
    except ContractError as error:
        return Bad(str(error))
    except Exception as error:
        log.exception("block not evaluated", block=ask.headers.get("ce-id"))
        return Failed(repr(error))


def _beside(work: Callable[[], None]) -> None:
    """Run *work* in a thread, one at a time, so that no block waits for it."""

    def alone() -> None:
        with _learning:
            work()

    threading.Thread(target=alone, name="learning", daemon=True).start()


class _Rules:
    """The rules in force here; replaced in one step, while blocks go on being evaluated."""

    def __init__(self, directories: Sequence[Path], cache: RuleCache | None) -> None:
        self._directories = directories
        self._read: ReadFiles = {}
        self._look = threading.Event()
        self._changed = threading.Condition()
        self.current = load_in_force(directories, self._read, run=_beside, cache=cache)
        self._seen = deque([self.current.signature], maxlen=16)

    def of(self, signature: str) -> InForce:
        """Return the rules of *signature*, or those in force where it does not come in time.

        So a rule that the service shows as in force is in force in every block asked for after.
        """
        if signature not in self._seen:  # else it is older than what is in force here
            self._look.set()
            with self._changed:
                self._changed.wait_for(lambda: self.current.signature == signature, PATIENCE)
        return self.current

    def look_after(self, every: float) -> None:
        """Load the rules anew whenever a file has changed; a failure keeps what is in force."""
        while True:
            self._look.wait(every)
            self._look.clear()
            try:
                if signature_of(self._directories) != self.current.signature:
                    fresh = load_in_force(self._directories, self._read, self.current, _beside)
                    with self._changed:
                        self.current = fresh
                        self._seen.append(fresh.signature)
                        self._changed.notify_all()
            except Exception:
                log.exception("rules not loaded anew")
