"""Bring a service's schema up to date: Alembic over `services/<name>/migrations`, one role each.

A migration is a module with ``revision``, ``down_revision`` and ``upgrade()``; it runs SQL with
`run_sql`. Migrations only expand or contract (docs/operations.md), never rewrite event tables, and
each grants the service's role what the service does and nothing more.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from shared.db import plain_url
from shared.errors import UserError
from shared.topology import role_name

__all__ = ["MigrationError", "head", "migrate", "run_sql"]

_LOCK = 7_046_029_254_386_353_131  # one migration at a time, whoever starts it


class MigrationError(UserError):
    """The database cannot be brought up to date; the message says why."""


def run_sql(sql: str) -> None:
    """Run the statements of *sql* inside the migration's transaction."""
    driver: Any = op.get_bind().connection.dbapi_connection
    driver.run_async(lambda connection: connection.execute(sql))


def _scripts(service: str) -> ScriptDirectory:
    folder = Path(str(files("services").joinpath(service, "migrations")))
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


def head(service: str) -> str:
    """Return the newest revision that this program knows for *service*."""
    revision = _scripts(service).get_current_head()
    if revision is None:
        raise MigrationError(f"{service} has no migrations")
    return revision


def _upgrade(connection: Connection, service: str) -> None:
    scripts = _scripts(service)

    def steps(revision: Any, _context: Any) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), scripts, fn=steps, destination_rev="head") as environment:
        environment.configure(
            connection=connection, version_table="migrations", version_table_schema=service
        )
        environment.run_migrations()


async def _prepare(connection: AsyncConnection, service: str, password: str | None) -> None:
    role = role_name(service)
    known = await connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :r"), {"r": role})
    if password is not None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", password):
            raise MigrationError("a role's password has only letters, digits, - and _")
        verb = "ALTER" if known else "CREATE"
        await connection.execute(text(f"{verb} ROLE {role} LOGIN PASSWORD '{password}'"))
    elif not known:
        raise MigrationError(f"role {role} does not exist and no password was given to create it")
    await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {service}"))
    await connection.execute(text(f"GRANT USAGE ON SCHEMA {service} TO {role}"))
    await connection.execute(text(f"SET LOCAL search_path TO {service}"))


async def migrate(admin_url: str, passwords: Mapping[str, str | None]) -> dict[str, str]:
    """Migrate the services named in *passwords*; return service → revision.

    *admin_url* may create roles and schemas. A service's role is created, or given the password,
    where one is named; with None the role must exist. Each service is one transaction under one
    advisory lock, so it may run any number of times and from several places at once.
    """
    plain, arguments = plain_url(admin_url)
    engine = create_async_engine(
        plain.replace("postgresql://", "postgresql+asyncpg://", 1),
        connect_args={**arguments, "timeout": 10},
    )
    try:
        for service, password in passwords.items():
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _LOCK})
                await _prepare(connection, service, password)
                await connection.run_sync(_upgrade, service)
                grant = f"GRANT SELECT ON {service}.migrations TO {role_name(service)}"
                await connection.execute(text(grant))
    finally:
        await engine.dispose()
    return {service: head(service) for service in passwords}
