"""PostgreSQL, seen from a service: an engine bound to the service's own schema and role."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import asyncpg
import structlog
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["connect_arguments", "create_engine", "database_problem", "is_transient", "plain_url"]

log = structlog.get_logger()

# SQLSTATE classes that blame what was asked: cardinality, data, integrity constraint.
_OUR_FAULT = frozenset({"21", "22", "23"})


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
    engine = create_async_engine(
        plain.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool_size,
        # More come when needed and go again: an idle connection costs PostgreSQL some megabytes.
        max_overflow=7,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,  # what people wrote does not belong into logs
        connect_args=connect_arguments(schema, arguments),
    )
    event.listen(engine.sync_engine, "checkin", _drop_unless_clean)
    event.listen(engine.sync_engine, "checkout", _refuse_unless_clean)
    return engine


def _is_clean(connection: Any) -> bool:
    """Tell whether nobody's transaction is open on *connection*.

    Who uses asyncpg's own connection and is cut off within a transaction gives it back open, and
    SQLAlchemy, which did not begin it, does not see it: the statements of the next user would run
    inside that transaction and never be committed.
    """
    driver = connection.driver_connection
    return not driver.is_closed() and not driver.is_in_transaction()


def _drop_unless_clean(connection: Any, record: Any) -> None:
    """Close what comes back unclean; the locks of its transaction end now and not at its reuse."""
    if connection is not None and not _is_clean(connection):
        log.warning("a connection came back within a transaction, or closed")
        record.invalidate()


def _refuse_unless_clean(connection: Any, record: Any, proxy: Any) -> None:
    """Have the pool replace what became unclean in it: a BEGIN may be answered after its sender
    was cut off."""
    if not _is_clean(connection):
        raise DisconnectionError("within another's transaction, or closed")


def is_transient(error: BaseException) -> bool:
    """Tell whether PostgreSQL failed rather than what it was asked.

    Everything but a refusal of the data itself may pass: a failover, a password being rotated, a
    schema that is still to be migrated. Nothing may be given up for good because of those.
    """
    if isinstance(error, OSError | TimeoutError | PoolTimeoutError):
        return True
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return str(state)[:2] not in _OUR_FAULT
        return error.connection_invalidated or isinstance(error, InterfaceError | OperationalError)
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] not in _OUR_FAULT
    # The second kind is what asyncpg says of a connection that broke off in the middle of a word.
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError)


async def database_problem(engine: AsyncEngine, schema: str, revision: str) -> str | None:
    """Return what keeps the database from being usable, or None (a readiness check).

    Anybody may read the answer, so it names the part; the log has the reason.
    """
    try:
        async with engine.connect() as connection:
            query = f'SELECT version_num FROM "{schema}".migrations'  # noqa: S608 - our own name
            found = (await connection.exec_driver_sql(query)).scalar_one_or_none()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        log.warning("database not usable", error=str(getattr(error, "orig", None) or error))
        return "PostgreSQL cannot be used; the log says why"
    if found != revision:
        return f"migrations of {schema} are at {found}, this program needs {revision}"
    return None
