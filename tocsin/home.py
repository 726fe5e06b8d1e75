"""The data directory of a local platform (``.tocsin``): where things lie and what is running."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.errors import UserError
from tocsin.embedded.pids import look
from tocsin.embedded.secret_files import SecretFiles

__all__ = ["DEFAULT_HOME", "Home", "NotRunningError", "Running"]

DEFAULT_HOME = Path(".tocsin")


class NotRunningError(UserError):
    """No platform runs over this directory; the message says how to start one."""


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running platform is reached."""

    pid: int
    urls: Mapping[str, str]
    nats_url: str
    database: str


class Home:
    """One data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.secrets = SecretFiles(root / "secrets")
        self.keys = root / "secrets"
        self.logs = root / "log"
        self.evidence = root / "evidence"
        self.store = root / "store"
        self.store_cache = root / "store-cache"
        self.rule_cache = root / "rule-cache"
        self._state = root / "platform.json"

    def write_running(self, running: Running) -> None:
        whole = self._state.with_suffix(".new")
        whole.write_text(json.dumps(asdict(running), indent=2) + "\n")
        whole.replace(self._state)

    def forget_running(self) -> None:
        self._state.unlink(missing_ok=True)

    def running(self) -> Running:
        """Return where the platform is; NotRunningError when there is none."""
        hint = f"No platform runs over {self.root}; start one with `tocsin up`."
        try:
            running = Running(**json.loads(self._state.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise NotRunningError(hint) from error
        if look(running.pid) is None:
            raise NotRunningError(hint)
        return running
