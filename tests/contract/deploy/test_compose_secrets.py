"""`tocsin compose-secrets`: made once, kept, readable where they must be and nowhere else."""

import json
import stat
from pathlib import Path

import pytest

from shared.topology import IDENTITIES, SERVICES
from tocsin.compose_secrets import write_secrets
from tocsin.nats_config import public_key

pytestmark = pytest.mark.contract

DERIVED = "nats.authorization.conf"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = {path.name: path.read_text() for path in write_secrets(folder)}
    second = {path.name: path.read_text() for path in write_secrets(folder)}
    assert first == second


def test_the_folder_is_closed_and_containers_can_read_what_they_are_given(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    written = {path.name: mode(path) for path in write_secrets(folder)}
    assert mode(folder) == 0o700
    assert written.pop("issuer.key.json") == 0o400
    assert set(written.values()) == {0o444}


def test_every_identity_of_the_broker_has_a_seed_that_the_broker_knows(tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets")
    block = (tmp_path / "secrets" / DERIVED).read_text()
    for identity in IDENTITIES:
        seed = (tmp_path / "secrets" / f"nats.{identity}.nkey").read_text().strip()
        assert public_key(seed) in block


def test_a_service_logs_in_with_the_password_that_migrate_sets(tmp_path: Path) -> None:
    query = "db:5432/tocsin?sslmode=verify-full&sslrootcert=/ca.crt"
    write_secrets(tmp_path / "secrets", query)
    for service in SERVICES:
        password = (tmp_path / "secrets" / f"{service}.database-password").read_text().strip()
        url = (tmp_path / "secrets" / f"{service}.database-url").read_text().strip()
        assert url == f"postgresql://tocsin_{service}:{password}@{query}"


def test_another_address_moves_the_urls_and_keeps_the_passwords(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    write_secrets(folder)
    before = (folder / "cases.database-password").read_text()
    write_secrets(folder, "elsewhere:5432/tocsin")
    assert (folder / "cases.database-password").read_text() == before
    assert "@elsewhere:5432/" in (folder / "postgres.url").read_text()


def test_the_published_key_is_not_the_private_one(tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets")
    (key,) = json.loads((tmp_path / "secrets" / "issuer.jwks.json").read_text())["keys"]
    assert "d" not in key
