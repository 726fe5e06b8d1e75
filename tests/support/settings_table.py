"""The tables of settings in docs/operations.md, made from the settings classes.

``python -m tests.support.settings_table`` brings the document up to date; a test compares.
"""

import importlib
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.settings import ServiceSettings
from shared.topology import SERVICES

__all__ = ["DOCUMENT", "SECTIONS", "current", "settings_class", "tables", "updated"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
SECTIONS = ("common", *SERVICES)
# What the field's name says well enough for the code, but not for somebody who reads only this.
_MEANINGS = {
    "host": "the address to listen on; `0.0.0.0` in a container",
    "port": "the port to listen on",
    "database_url": "`postgresql://…` of this service's own role; **required**",
    "nats_url": "where the broker is; of a cluster, a name that stands for all its servers",
    "nats_nkey_seed": "private seed of this service's NATS identity",
    "log_level": "`DEBUG`, `INFO`, `WARNING` or `ERROR`",
    "max_event_bytes": "the largest event; a larger one is quarantined",
    "smtp_host": "the mail relay; without one no e-mail is sent",
    "smtp_port": "the mail relay's port",
    "smtp_security": "`starttls`, `tls` or `none`",
    "smtp_user": "login at the mail relay",
    "smtp_password": "password at the mail relay",
}


def settings_class(service: str) -> type[ServiceSettings] | None:
    """Return the settings of *service*, or None while it has none."""
    if importlib.util.find_spec(f"services.{service}.settings") is None:
        return None
    module = importlib.import_module(f"services.{service}.settings")
    found: type[ServiceSettings] = module.Settings
    return found


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return "–"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _rows(prefix: str, fields: Mapping[str, FieldInfo]) -> list[str]:
    rows = []
    for name, field in fields.items():
        meaning = _MEANINGS.get(name) or field.description
        if not meaning:
            raise AssertionError(f"{prefix}{name.upper()} has no description: add one to its Field")
        meaning = meaning.replace("|", "\\|")
        secret = "; better as `…_FILE`" if "SecretStr" in str(field.annotation) else ""
        rows.append(f"| `{prefix}{name.upper()}` | {_default(field)} | {meaning}{secret} |")
    return rows


def tables() -> dict[str, str]:
    """Return section → table; a service without settings yet gets a sentence."""
    head = ["| variable | default | meaning |", "|---|---|---|"]
    common = dict(ServiceSettings.model_fields)
    del common["port"]  # every service has its own
    found = {"common": "\n".join([*head, *_rows("TOCSIN_", common)])}
    for service in SERVICES:
        cls = settings_class(service)
        if cls is None:
            found[service] = "No settings yet."
            continue
        own = {n: f for n, f in cls.model_fields.items() if n not in common}
        found[service] = "\n".join([*head, *_rows(f"TOCSIN_{service.upper()}_", own)])
    return found


def _pattern(section: str) -> re.Pattern[str]:
    mark = f"settings:{section}"
    return re.compile(rf"(<!-- {mark} -->\n)(.*?)(\n<!-- /{mark} -->)", re.DOTALL)


def current(section: str, text: str) -> str:
    """Return the table that stands in *text*; AssertionError when its marks are missing."""
    found = _pattern(section).search(text)
    if found is None:
        raise AssertionError(f"docs/operations.md has no marks for settings:{section}")
    return found[2]


def updated(text: str) -> str:
    """Return *text* with every table as the classes have it now."""
    for section, table in tables().items():
        current(section, text)
        text = _pattern(section).sub(lambda m, t=table: m[1] + t + m[3], text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text("utf-8")), "utf-8")
