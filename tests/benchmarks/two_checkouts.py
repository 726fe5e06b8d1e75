"""Two checkouts against each other, block by block in turns, for a machine that is never idle.

    git worktree add ../before COMMIT
    .venv/bin/python -m tests.benchmarks.two_checkouts ../before .

Neighbours that slow down one block slow down the other's as well, so the ratio of each pair tells
what the figures of a run do not. CPU time; the stream is `tests/support/mix.py`, seed 7, with all
of SigmaHQ's rules (TOCSIN_CORPUS). The first half of the stream is not counted.
"""

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

EVENTS, BLOCK = 60_000, 500
CORPUS = Path(os.environ.get("TOCSIN_CORPUS", "../shared/data")).resolve()
WAYS = ("match", "block")


def work(way: str) -> None:
    """Answer each line of standard input, a block's number, with (µs an event, what was found)."""
    from services.detect.evaluate import evaluate_block
    from services.detect.in_force import load_in_force
    from services.detect.rules.match import Event
    from tests.benchmarks.test_workers import block
    from tests.support.mix import mix

    lines = list(mix(CORPUS, 7, EVENTS))
    rules = load_in_force(sorted((CORPUS / "sigma").glob("rules*")), {})
    now = datetime.now(UTC)

    def match(number: int) -> Callable[[], int]:
        mine = lines[number * BLOCK : (number + 1) * BLOCK]
        find = rules.matcher.match
        return lambda: sum(len(find(Event(orjson.loads(line), text=line))) for line in mine)

    def whole(number: int) -> Callable[[], int]:
        headers, body = block(number, lines[number * BLOCK : (number + 1) * BLOCK])
        return lambda: len(evaluate_block(rules, headers, body, now).detections)

    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        job = (match if way == "match" else whole)(int(line))
        begun = time.process_time()
        found = job()
        print((time.process_time() - begun) / BLOCK * 1e6, found, flush=True)


def compare(way: str, checkouts: list[str]) -> None:
    """Print what both take for the second half of the stream."""
    command = [sys.executable, "-m", "tests.benchmarks.two_checkouts", "--work", way]
    both = [
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True, cwd=folder,
                         env={**os.environ, "PYTHONPATH": ".", "TOCSIN_CORPUS": str(CORPUS)})
        for folder in checkouts
    ]  # fmt: skip
    spent: list[list[float]] = [[], []]
    found = [0, 0]
    for number in range(EVENTS // BLOCK):
        for at in (0, 1) if number % 2 else (1, 0):
            said, heard = both[at].stdin, both[at].stdout
            assert said
            assert heard
            print(number, file=said, flush=True)
            micros, hits = heard.readline().split()
            found[at] += int(hits)
            if number >= EVENTS // BLOCK // 2:
                spent[at].append(float(micros))
    for process in both:
        process.communicate()
    first, second = (statistics.median(each) for each in spent)
    ratio = statistics.median(b / a for a, b in zip(*spent, strict=True))
    print(f"{way}: {first:.1f} and {second:.1f} µs an event, median of pairs {ratio:.2f}; {found}")


if __name__ == "__main__":
    if sys.argv[1] == "--work":
        work(sys.argv[2])
    else:
        for each in WAYS:
            compare(each, sys.argv[1:3])
