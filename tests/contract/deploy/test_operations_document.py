"""docs/operations.md says what the code says: settings, metrics, files, alerts."""

import re

import pytest
import yaml

from shared.topology import SERVICES
from tests.support.manifests import DEPLOY, ROOT
from tests.support.settings_table import DOCUMENT, SECTIONS, current, tables

pytestmark = pytest.mark.contract

TEXT = DOCUMENT.read_text("utf-8")
ALERTS = DEPLOY / "k8s" / "components" / "monitoring" / "alerts.yaml"
_DEFINED = re.compile(r'(?:Counter|Gauge|Histogram)\(\s*"(tocsin_\w+)"')
_NAMED = re.compile(r"\btocsin_\w+_\w+")
_ROLES = {f"tocsin_{service}" for service in SERVICES} | {"tocsin_admin", "tocsin_owner"}


def metrics() -> set[str]:
    return {
        name
        for package in ("services", "shared", "tocsin")
        for path in (ROOT / package).rglob("*.py")
        for name in _DEFINED.findall(path.read_text("utf-8"))
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_the_table_of_settings_is_current(section: str) -> None:
    table = tables()[section]
    assert current(section, TEXT) == table, "run: python -m tests.support.settings_table"


def test_every_metric_named_exists() -> None:
    known = metrics()
    assert known
    for source in (TEXT, ALERTS.read_text("utf-8")):
        named = set(_NAMED.findall(source)) - _ROLES
        assert named - known == set()


def test_every_alert_says_what_happened() -> None:
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) <= 20
    for rule in rules:
        assert rule["annotations"]["summary"].endswith((".", ":", "to.", "cause.", "missing."))
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_file_named_exists() -> None:
    for name in set(re.findall(r"\bdeploy/[\w./-]+\w", TEXT)):
        # These two the operator makes.
        if "/secrets" not in name and not name.endswith("tocsin.env"):
            assert (ROOT / name).exists(), name


def test_no_registry_host_is_named() -> None:
    hosts = re.compile(r"docker\.io|ghcr\.io|quay\.io|gcr\.io|pypi\.org|registry\.k8s\.io")
    files = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", DOCUMENT]
    for path in [
        *files,
        *(p for p in DEPLOY.rglob("*") if p.is_file() and "secrets" not in p.parts),
    ]:
        assert not hosts.search(path.read_text("utf-8")), path
