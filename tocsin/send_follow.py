"""`tocsin send --follow`: ship what files grow by until stopped (`tocsin.follow`)."""

import asyncio
import hashlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from rich.console import Console

from tocsin.follow import Follower, load_position, save_position
from tocsin.send import Sent, Target, post_chunk
from tocsin.send_display import Waits

__all__ = ["follow_file", "follow_files", "state_file"]

POLL_SECONDS = 0.5
TELL_SECONDS = 30.0


def state_file(folder: Path, path: Path, target: Target) -> Path:
    """Return where it is kept how far *path* was sent to *target*."""
    named = f"{path.resolve()}\n{target.url}\n{target.key.split('_')[1:2]}"
    return folder / f"{path.name}-{hashlib.sha256(named.encode()).hexdigest()[:16]}.json"


async def follow_file(
    client: httpx.AsyncClient,
    target: Target,
    path: Path,
    state: Path,
    sent: Sent,
    *,
    poll: float = POLL_SECONDS,
    on_wait: Callable[[str], None] = lambda problem: None,
) -> None:
    """Ship what *path* grows by, from where *state* says, until cancelled; *sent* counts.

    While the platform cannot be reached it waits, however long. ReadingError when the file cannot
    be read, SendError when the platform refuses for good.
    """
    follower = Follower(path, await asyncio.to_thread(load_position, state))
    try:
        while True:
            portion = await asyncio.to_thread(follower.read)
            if portion is None:
                await asyncio.sleep(poll)
                continue
            answer = await post_chunk(
                client, target, portion.chunk, portion.key, on_wait=on_wait, attempts=None
            )
            await asyncio.to_thread(save_position, state, portion.after)
            follower.confirm(portion)
            sent.accepted += answer["accepted"]
            sent.duplicates += answer["duplicates"]
            sent.quarantined += answer["quarantined"]
    finally:
        follower.close()


async def follow_files(
    target: Target, files: Sequence[Path], folder: Path, console: Console
) -> None:
    """Follow *files* until SIGINT or SIGTERM; then say how much was sent. The first failure ends
    it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sent = Sent()
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        waits = Waits(console)
        work = [
            asyncio.create_task(
                follow_file(
                    client, target, path, state_file(folder, path, target), sent,
                    on_wait=waits.tell,
                )
            )
            for path in files
        ]  # fmt: skip
        stopping = asyncio.create_task(stop.wait())
        telling = asyncio.create_task(_tell(sent, console))
        try:
            await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*work, stopping, telling):
                task.cancel()
            results = await asyncio.gather(*work, return_exceptions=True)
        console.print(
            f"{sent.accepted:,} events accepted, {sent.duplicates:,} known already;"
            " the same command goes on from here",
        )
        for result in results:
            if isinstance(result, Exception):
                raise result


async def _tell(sent: Sent, console: Console) -> None:
    """Say now and then how it goes."""
    before = 0
    while True:
        await asyncio.sleep(TELL_SECONDS)
        rate = (sent.accepted - before) / TELL_SECONDS
        before = sent.accepted
        console.print(f"{sent.accepted:,} events accepted, {rate:,.0f}/s")
