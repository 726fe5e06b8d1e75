"""Wait for a state, never for a length of time. The limit is for what never comes, not for what
comes late on a busy machine: how quick something has to be is asked by benchmarks."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def until(
    probe: Callable[[], Any],
    timeout: float = 60.0,  # noqa: ASYNC109 - the limit is the point
    *,
    every: float = 0.02,
) -> Any:
    """Return the first truthy answer of *probe*; AssertionError with the last one at the limit."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        answer = probe()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout:g} s; last answer: {value!r}")
        await asyncio.sleep(every)
