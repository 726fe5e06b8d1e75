"""What the embedded servers are started with."""

from pathlib import Path

import pytest

from tocsin.embedded.nats import EmbeddedNats
from tocsin.embedded.postgres_settings import as_arguments, initdb_options, server_settings

pytestmark = pytest.mark.unit


def test_settings_are_durable_unless_a_test_says_otherwise() -> None:
    durable = server_settings(5432, major=18, durable=True)
    assert (durable["fsync"], durable["full_page_writes"]) == ("on", "on")
    assert durable["synchronous_commit"] == "on"
    assert server_settings(5432, major=18, durable=False)["fsync"] == "off"
    assert "--no-sync" not in initdb_options("admin", major=18, durable=True)


def test_older_servers_get_no_settings_that_they_do_not_know() -> None:
    assert "io_method" not in server_settings(5432, major=15, durable=True)
    assert not [o for o in initdb_options("admin", major=16, durable=True) if "provider" in o]


def test_settings_become_arguments() -> None:
    assert as_arguments({"port": "1", "jit": "off"}) == ["-c", "port=1", "-c", "jit=off"]


def test_every_way_in_needs_a_password() -> None:
    options = initdb_options("admin", major=18, durable=True)
    assert {o for o in options if "auth" in o} == {
        "--auth-host=scram-sha-256",
        "--auth-local=scram-sha-256",
    }


def test_no_port_before_the_first_start() -> None:
    with pytest.raises(Exception, match="not started yet"):
        _ = EmbeddedNats(Path("/nowhere")).port
