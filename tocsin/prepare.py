"""The database's administration for a local platform, in a process of its own.

Migrating and registering sources needs libraries, and memory, that a running platform does not need
again: a short-lived child does it, told by JSON on standard input, answering on standard output.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from shared.errors import UserError

__all__ = ["Order", "PrepareError", "prepare"]

LIMIT = 120.0


class PrepareError(UserError):
    """The database could not be brought up to date; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do. ``sources`` maps name → labels of those that need a key."""

    admin_url: str
    passwords: Mapping[str, str | None]
    pepper: str
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


async def prepare(order: Order) -> dict[str, str]:
    """Migrate every service's schema and issue the keys asked for; return source → key."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tocsin.prepare",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(
            process.communicate(json.dumps(asdict(order)).encode()), LIMIT
        )
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        said = err.decode(errors="replace").strip().splitlines() or ["it did not say why"]
        raise PrepareError(f"the database cannot be prepared: {said[-1]}")
    keys: dict[str, str] = json.loads(out)
    return keys


async def _obey(order: Order) -> dict[str, str]:
    from shared.migrate import migrate
    from tocsin.sources import add_source, source_of

    await migrate(order.admin_url, order.passwords)
    return {
        name: await add_source(order.admin_url, order.pepper, source_of(name, labels))
        for name, labels in order.sources.items()
    }


if __name__ == "__main__":
    keys = asyncio.run(_obey(Order(**json.load(sys.stdin))))
    sys.stdout.write(json.dumps(keys))
