"""DuckDB as this service uses it: embedded, bounded, shut off from everything but our files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

__all__ = ["connect"]


def connect(folder: Path, memory_mib: int, threads: int) -> duckdb.DuckDBPyConnection:
    """Return a connection that can reach files under *folder* and nothing else, for good."""
    import duckdb  # tens of megabytes, for the store's own processes alone

    spill = folder / "_scratch"
    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "memory_limit": f"{memory_mib}MiB",
            "threads": threads,
            "temp_directory": str(spill),
            "max_temp_directory_size": f"{8 * memory_mib}MiB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "preserve_insertion_order": False,
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET allowed_directories = $folders", {"folders": [f"{folder}/"]})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
