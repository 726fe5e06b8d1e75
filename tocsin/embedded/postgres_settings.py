"""The settings PostgreSQL is started with: always the current code's, never an old file's."""

import functools

from tocsin.embedded.ports import LOOPBACK


def server_settings(port: int, *, major: int, durable: bool) -> dict[str, str]:
    """Return the server's settings: durable first, small second (delivery-and-evidence §3.3)."""
    settings = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        # No Unix socket: one way in, with a password.
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_level": "replica",
        "max_slot_wal_keep_size": "1GB",
        "max_wal_size": "512MB",
        "shared_buffers": "64MB",
        "huge_pages": "off",
        "work_mem": "4MB",
        "maintenance_work_mem": "32MB",
        "max_connections": "100",
        "max_worker_processes": "4",
        "max_parallel_workers": "2",
        "autovacuum_max_workers": "2",
        "jit": "off",
        # A client killed in the middle of a statement must not hold its locks for long.
        "client_connection_check_interval": "2s",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "logging_collector": "off",
    }
    if major >= 18:
        settings["io_method"] = "sync"  # saves the three I/O workers' memory
    return settings


def initdb_options(superuser: str, *, major: int, durable: bool) -> list[str]:
    """Return how a data directory is made: checksums, UTF-8, passwords for every way in."""
    options = [
        f"--username={superuser}",
        "--auth-host=scram-sha-256",
        "--auth-local=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C",
    ]
    if major >= 17:
        # Unicode without the system's locales: the same order on every machine.
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    if not durable:
        options.append("--no-sync")
    return options


def as_arguments(settings: dict[str, str]) -> list[str]:
    """Write settings as the server's arguments."""
    return functools.reduce(
        lambda words, each: [*words, "-c", f"{each[0]}={each[1]}"], settings.items(), []
    )
