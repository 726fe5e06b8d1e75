"""A directory whose people are reached by providers on loopback."""

import json
from pathlib import Path
from typing import Any

from tests.support.providers import Providers
from tests.unit.escalate.oncall.given import STAFFED

DIRECTORY = (
    STAFFED.replace("{channel: email, to: ana@example.org}", "{channel: webhook, to: ana-hook}")
    .replace("{channel: email, to: cy@example.org}", "{channel: pagerduty, to: cy-pd}")
    .replace("kind: legal, members", "kind: legal, contacts: [{channel: teams, to: lg}], members")
)


def overrides(folder: Path, found: Providers) -> dict[str, Any]:
    """Return the settings that let escalate page these people."""
    directory, secrets = folder / "directory.yml", folder / "secrets.json"
    directory.write_text(DIRECTORY)
    hook = {"url": f"{found.url}/webhook", "secret": found.secret}
    secrets.write_text(
        json.dumps(
            {
                "ana-hook": hook,
                "bo-hook": hook,
                "cy-pd": {"routing_key": "0" * 32, "url": f"{found.url}/pagerduty"},
                "cy-slack": f"{found.url}/slack",
                "lg": f"{found.url}/teams",
            }
        )
    )
    return {
        "directory_file": directory,
        "paging_secrets_file": secrets,
        "paging_allow": [f"127.0.0.1:{found.port}"],
        "extend_seconds": 0.05,
    }
