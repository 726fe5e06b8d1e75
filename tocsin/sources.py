"""Register log sources and issue their keys, with the administrator's access to the database."""

from datetime import datetime

from sqlalchemy.ext.asyncio import create_async_engine

from services.ingest.sources import Source, issue_key, register
from shared.clock import utc_now
from shared.db import plain_url
from tocsin.home import Home

__all__ = ["add_source", "default_key"]

LOCAL_SOURCE = "local"


async def add_source(
    admin_url: str, pepper: str, source: Source, *, expires: datetime | None = None
) -> str:
    """Register *source* (or change its labels) and return a new key of it."""
    plain, arguments = plain_url(admin_url)
    engine = create_async_engine(
        plain.replace("postgresql://", "postgresql+asyncpg://", 1), connect_args=arguments
    )
    try:
        async with engine.begin() as connection:
            await register(connection, source, utc_now())
            key = await issue_key(connection, source.id, pepper, utc_now(), expires)
    finally:
        await engine.dispose()
    return str(key)


async def default_key(home: Home, admin_url: str) -> str:
    """Return the key that `tocsin send` uses here; made once, with the source ``local``."""
    path = home.secrets.path("local-source.key")
    if path.exists():
        return path.read_text().strip()
    pepper = home.secrets.get("ingest.key-pepper")
    key = await add_source(admin_url, pepper, Source(id=LOCAL_SOURCE))
    return home.secrets.put(path.name, key)
