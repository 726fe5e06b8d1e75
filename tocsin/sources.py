"""Register log sources and issue their keys, with the administrator's access to the database."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import create_async_engine

from services.ingest.sources import Source, issue_key, register
from shared.clock import utc_now
from shared.contracts.ingest import Logsource
from shared.db import plain_url

__all__ = ["add_source", "source_of"]

_LOGSOURCE = ("product", "category")


def source_of(name: str, labels: Mapping[str, str]) -> Source:
    """Return source *name* with *labels*: tenant, region, datacenter, service, server, and the
    Sigma logsource as product and category; TypeError for any other label."""
    logsource = Logsource(**{k: v for k, v in labels.items() if k in _LOGSOURCE})
    others = {k: v for k, v in labels.items() if k not in _LOGSOURCE}
    return Source(id=name, logsource=logsource, **others)


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
