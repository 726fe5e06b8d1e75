"""PostgreSQL, seen from a service: an engine bound to the service's own schema and role."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["connect_arguments", "create_engine", "database_problem", "is_transient", "plain_url"]

_TRANSIENT_STATES = frozenset(
    {
        "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53100", "53200", "53300",
    }
)  # fmt: skip


def plain_url(url: str) -> tuple[str, dict[str, Any]]:
    """Return *url* without libpq's query, and the arguments of asyncpg that the query asks for.

    Any spelling of the scheme is accepted unchanged, as operators hand out ``postgres://…`` and
    ``postgresql://…?sslmode=require`` (CloudNativePG's ``uri``).
    """
    parts = urlsplit(url)
    if parts.scheme.split("+")[0] not in {"postgres", "postgresql"}:
        raise ValueError(f"a database URL starts with postgresql://, not {parts.scheme}://")
    query = dict(parse_qsl(parts.query))
    arguments: dict[str, Any] = {}
    mode = query.pop("sslmode", None)
    if mode in {"require", "prefer", "allow", "disable"}:
        arguments["ssl"] = mode
    elif mode in {"verify-ca", "verify-full"}:
        context = ssl.create_default_context(cafile=query.pop("sslrootcert", None))
        context.check_hostname = mode == "verify-full"
        arguments["ssl"] = context
    elif mode is not None:
        raise ValueError(f"sslmode {mode!r} is unknown")
    return urlunsplit(("postgresql", parts.netloc, parts.path, "", "")), arguments


def connect_arguments(schema: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each connection of a service is opened with: bounds on everything."""
    return {
        **arguments,
        "timeout": 5,
        "command_timeout": 30,
        "server_settings": {
            "application_name": f"tocsin-{schema}",
            "search_path": schema,
            "statement_timeout": "15s",
            "lock_timeout": "5s",
            "idle_in_transaction_session_timeout": "30s",
            "jit": "off",
        },
    }


def create_engine(url: str, schema: str, *, pool_size: int = 3) -> AsyncEngine:
    """Return an engine whose unqualified names mean tables of *schema*; it connects when used."""
    plain, arguments = plain_url(url)
    return create_async_engine(
        plain.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool_size,
        # More come when needed and go again: an idle connection costs PostgreSQL some megabytes.
        max_overflow=7,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args=connect_arguments(schema, arguments),
    )


def is_transient(error: BaseException) -> bool:
    """Tell whether PostgreSQL could not be asked, or wants to be asked again."""
    if isinstance(error, OSError | TimeoutError | PoolTimeoutError | InterfaceError):
        return True
    if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.InterfaceError):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return error.sqlstate in _TRANSIENT_STATES
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if error.connection_invalidated or state in _TRANSIENT_STATES:
            return True
        return (isinstance(error, OperationalError) and state is None) or (
            state is not None and state.startswith("08")
        )
    return False


async def database_problem(engine: AsyncEngine, schema: str, revision: str) -> str | None:
    """Return what keeps the database from being usable, or None (a readiness check)."""
    try:
        async with engine.connect() as connection:
            found = (
                await connection.exec_driver_sql(f'SELECT version_num FROM "{schema}".migrations')  # noqa: S608 - schema is one of our own names
            ).scalar_one_or_none()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        reason = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
        return f"PostgreSQL: {reason[0]}"
    if found != revision:
        return f"migrations of {schema} are at {found}, this program needs {revision}"
    return None
