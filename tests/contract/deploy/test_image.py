"""What the Dockerfile does, done here: no container engine is needed to see that it can work."""

import fnmatch
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from shared.topology import SERVICES
from tests.support.manifests import DEPLOY, ROOT, settings_of

pytestmark = pytest.mark.contract

# What is data and not code: a wheel without it starts and then fails.
DATA = (
    "services/*/migrations/*",
    "services/ingest/*.yml",
    "services/escalate/policies/*",
    "services/notify/wording/shipped/*.yml",
    "services/notify/obligations/table/*.yml",
    "services/notify/obligations/holidays/*.yml",
    "services/detect/pack/*",
    "services/detect/rules/routing.yml",
)


def dockerfile() -> list[str]:
    """Return the Dockerfile's instructions, one line each."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [i.strip() for i in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines() if i.strip()]


def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", DEPLOY / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sources() -> frozenset[str]:
    """What the packages hold before the wheel is built: somebody may be editing meanwhile."""
    return frozenset(
        path.relative_to(ROOT).as_posix()
        for package in ("services", "shared", "tocsin")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


@pytest.fixture(scope="module")
def wheel(sources: frozenset[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
            "--disable-pip-version-check", "--target", str(target), str(wheel),
        ],
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path, sources: frozenset[str]) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    # A file that is gone by now was never meant to be in.
    assert {name for name in sources - inside if (ROOT / name).exists()} == set()


@pytest.mark.parametrize("pattern", DATA)
def test_what_is_data_is_in_the_wheel(wheel: Path, sources: frozenset[str], pattern: str) -> None:
    here = set(fnmatch.filter(sources, pattern))
    assert here
    assert here <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_no_test_no_manifest_and_no_secret(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "services", "shared", "tocsin",
    }  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_an_installed_service_says_what_it_lacks(
    installed: Path, tmp_path: Path, service: str
) -> None:
    # As in the image: outside the checkout, which must not be what answers.
    environment = {"PYTHONPATH": str(installed), "PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1"}
    where = f"import services.{service}; print(services.{service}.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(installed)), found.stdout + found.stderr
    done = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"{service}: TOCSIN_{service.upper()}_DATABASE_URL is not set\n"


def test_the_default_command_prints_help(installed: Path, tmp_path: Path) -> None:
    (entrypoint,) = [json.loads(i.split(" ", 1)[1]) for i in dockerfile() if i.startswith("ENTRY")]
    (command,) = [json.loads(i.split(" ", 1)[1]) for i in dockerfile() if i.startswith("CMD")]
    assert entrypoint == ["python", "-m"]
    done = subprocess.run(
        [sys.executable, *entrypoint[1:], *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert "migrate" in done.stdout


def test_the_dockerfile_pins_and_drops() -> None:
    instructions = dockerfile()
    text = "\n".join(instructions)
    assert text.count("\nFROM ") + text.startswith("FROM ") == 2
    assert all("-slim-bookworm" in i for i in instructions if i.startswith("FROM"))
    assert "--require-hashes --no-deps --requirement /src/requirements.lock" in text
    assert "--editable" not in text
    assert "requirements-dev" not in text
    assert instructions.index("USER 65532:65532") > max(
        n for n, i in enumerate(instructions) if i.startswith(("RUN", "COPY"))
    )
    assert any(i.startswith("HEALTHCHECK") and "/livez" in i for i in instructions)
    assert not re.search(r"https?://|--index-url|--extra-index", text)


def test_everything_copied_exists_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[next(n for n, line in enumerate(ignored) if not line.startswith("#"))] == "*"
    for instruction in dockerfile():
        if instruction.startswith("COPY") and "--from" not in instruction:
            for source in instruction.split()[1:-1]:
                if source.endswith("*"):
                    continue
                assert (ROOT / source).exists(), source
                assert source in allowed, source


def test_the_health_check_knows_every_port() -> None:
    ports = healthcheck().PORTS
    assert set(ports) == set(SERVICES)
    exposed = next(i for i in dockerfile() if i.startswith("EXPOSE"))
    assert set(exposed.split()[1:]) == {str(port) for port in ports.values()}


@pytest.mark.parametrize("service", SERVICES)
def test_the_health_check_asks_where_the_service_listens(service: str) -> None:
    module = healthcheck()
    default = settings_of(service).model_fields["port"].default
    assert module.port_of(service, {}) == default
    assert module.port_of(service, {"TOCSIN_PORT": "9"}) == 9
    own = {f"TOCSIN_{service.upper()}_PORT": "7", "TOCSIN_PORT": "9"}
    assert module.port_of(service, own) == 7


def test_the_health_check_finds_the_service_behind_any_init() -> None:
    find = healthcheck().service_of
    assert find(b"python\0-m\0services.cases\0") == "cases"
    assert find(b"/sbin/docker-init\0--\0python\0-m\0services.notify\0") == "notify"
    assert find(b"python\0-m\0tocsin\0migrate\0") is None
