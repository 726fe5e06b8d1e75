"""Where hooks and keys are: a JSON file, name → URL or table, read anew when it changed."""

import json
import math
import time
from pathlib import Path
from typing import Any

from services.escalate.paging import ChannelError

__all__ = ["Secrets"]

LOOK_SECONDS = 1.0


class Secrets:
    """The operator's file; a page whose secret is missing waits until it is there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._looked, self._which = -math.inf, (0, 0, 0)
        self._known: Any = None

    def get(self, name: str, *wanted: str) -> dict[str, str]:
        """Return what stands under *name*, with all *wanted* in it; ChannelError if it does not.

        A text alone is a ``url``. The error names the secret, never what it holds.
        """
        if self._path is None:
            raise ChannelError("paging_secrets_file is not set")
        try:
            known = self._content(self._path)
        except OSError as error:
            raise ChannelError(f"paging_secrets_file: {error.strerror}") from None
        except ValueError:
            raise ChannelError("paging_secrets_file is not JSON") from None
        found = known.get(name) if isinstance(known, dict) else None
        if isinstance(found, str):
            found = {"url": found}
        if not isinstance(found, dict):
            raise ChannelError(f"paging_secrets_file has no {name}")
        for key in wanted:
            if not isinstance(found.get(key), str):
                raise ChannelError(f"paging_secrets_file: {name} has no {key}")
        return {key: value for key, value in found.items() if isinstance(value, str)}

    def _content(self, path: Path) -> Any:
        """Return what the file holds; whether it has changed is looked at once a second."""
        now = time.monotonic()
        if now >= self._looked + LOOK_SECONDS:
            found = path.stat()
            which = (found.st_ino, found.st_mtime_ns, found.st_size)
            if which != self._which:
                self._known = json.loads(path.read_text(encoding="utf-8"))
            self._looked, self._which = now, which
        return self._known
