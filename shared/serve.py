"""Run a service until SIGTERM: first unready, then drained, then closed."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI

from shared.logging import configure_logging
from shared.settings import ServiceSettings, SettingsError, load_settings

__all__ = ["seldom_collect", "serve"]

S = TypeVar("S", bound=ServiceSettings)


class _Server(uvicorn.Server):
    """Tells the readiness probe about the signal before connections are closed."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._fastapi = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._fastapi.state.draining = True
        super().handle_exit(sig, frame)


def serve(
    settings_class: type[S],
    create_app: Callable[[S], FastAPI],
    check: Callable[[S], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Run the service; ends the process with one sentence when its settings are wrong.

    *check* is for what only a look at the world can tell of them: it raises SettingsError.
    """
    try:
        settings = load_settings(settings_class)
        configure_logging(settings.service, settings.log_level)
        app = create_app(settings)
        if check is not None:
            asyncio.run(check(settings))
    except SettingsError as error:
        sys.exit(f"{settings_class.service}: {error}")
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        limit_concurrency=2000,
    )
    seldom_collect()
    _Server(config, app).run()


def seldom_collect() -> None:
    """Have the collector of cyclic garbage spare the program, and look seldom.

    The program stays, and what it works on is decoded and dropped by the thousand and forms no
    cycles: a whole look at both stops every request for a tenth of a second. A batch of messages
    is less than the threshold, or every batch would be looked at while it is worked on.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
