"""Incidents that everybody sees are counted in an index, without their documents."""

from shared.migrate import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql(
        "CREATE INDEX incidents_counted ON incidents (state, severity) INCLUDE (incident_id)"
        " WHERE NOT restricted"
    )
