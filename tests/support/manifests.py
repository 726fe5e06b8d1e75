"""The files of deploy/ as the tests read them: a copy with generated secrets, YAML, rendered."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import ServiceSettings
from shared.topology import SERVICES
from tests.support.settings_table import settings_class
from tocsin.compose_secrets import write_secrets

__all__ = [
    "CRDS",
    "DEPLOY",
    "ROOT",
    "containers",
    "copy_of_deploy",
    "documents",
    "known_variables",
    "kustomize",
    "objects_of",
    "pod_specs",
    "settings_of",
]  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Kinds of operators: no schema of Kubernetes describes them.
CRDS = {"ScaledObject", "PodMonitor", "PrometheusRule", "Cluster"}
# What the one-shot commands read (tocsin/cli.py), which are no service's settings.
_COMMANDS = {
    "migrate": {
        "TOCSIN_DATABASE_URL",
        *(f"TOCSIN_{service.upper()}_DATABASE_PASSWORD" for service in SERVICES),
    },
    "bootstrap": {"TOCSIN_NATS_URL", "TOCSIN_NATS_NKEY_SEED", "TOCSIN_NATS_REPLICAS"},
    "sources": {"TOCSIN_HOME", "TOCSIN_DATABASE_URL"},
}


def copy_of_deploy(folder: Path) -> Path:
    """Copy docker-compose.yml and deploy/ to *folder* and write the secrets they want there."""
    shutil.copy(ROOT / "docker-compose.yml", folder)
    shutil.copytree(DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns("secrets", "*.env~"))
    write_secrets(folder / "deploy" / "compose" / "secrets")
    write_secrets(folder / "deploy" / "k8s" / "overlays" / "dev" / "secrets")
    return folder


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the YAML documents of a file."""
    return [d for d in yaml.safe_load_all(path.read_text("utf-8")) if d]


def objects_of(folder: Path) -> list[dict[str, Any]]:
    """Return every object that the kustomization in *folder* lists itself, without rendering."""
    (kustomization,) = documents(folder / "kustomization.yaml")
    found = []
    for name in kustomization.get("resources", ()):
        if (folder / name).is_file():
            found += documents(folder / name)
    return found


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """Return what kubectl renders from *folder*; skips where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return [d for d in yaml.safe_load_all(done.stdout) if d]


def pod_specs(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and pod of everything that runs containers."""
    for each in objects:
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all containers of a pod, those that only prepare included."""
    found: list[dict[str, Any]] = [*pod.get("initContainers", ()), *pod["containers"]]
    return found


def settings_of(service: str) -> type[ServiceSettings]:
    """Return the settings of *service*."""
    cls = settings_class(service)
    assert cls is not None, f"services/{service} has no settings"
    return cls


def known_variables(arguments: list[str]) -> set[str]:
    """Return the variables that mean something to what these arguments start."""
    if arguments[0].startswith("services."):
        service = arguments[0].removeprefix("services.")
        fields = (settings_class(service) or ServiceSettings).model_fields
        names = {
            f"{prefix}{name.upper()}"
            for prefix in ("TOCSIN_", f"TOCSIN_{service.upper()}_")
            for name in fields
        }
    else:
        names = _COMMANDS[arguments[1]]
    return names | {f"{name}_FILE" for name in names}
