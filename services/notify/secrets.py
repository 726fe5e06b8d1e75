"""Signing secrets of tenants' webhooks: from the secret file by reference, else the inventory."""

import json
from collections.abc import Callable
from pathlib import Path

import structlog

__all__ = ["WebhookSecrets"]

log = structlog.get_logger()


class WebhookSecrets:
    """Looks a secret up at each sending, so that a rotated one counts at once."""

    def __init__(self, file: Path | None, in_inventory: Callable[[str], str | None]) -> None:
        self._file, self._in_inventory = file, in_inventory

    def __call__(self, tenant: str, secret_ref: str | None) -> str | None:
        """Return the secret, or None when there is none to be had."""
        if secret_ref is None:
            return self._in_inventory(tenant)
        if self._file is None:
            return None
        try:
            given = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            log.warning("webhook secrets cannot be read", error=type(error).__name__)
            return None
        found = given.get(secret_ref) if isinstance(given, dict) else None
        return found if isinstance(found, str) else None
