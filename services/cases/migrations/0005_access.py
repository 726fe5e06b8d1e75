"""Which incidents are restricted, and who may see each of those (need-to-know, §7)."""

from shared.migrate import run_sql

revision = "0005"
down_revision = "0004"

SQL = """
ALTER TABLE incidents ADD COLUMN restricted boolean NOT NULL DEFAULT false;
CREATE TABLE incident_access (
    incident_id uuid NOT NULL,
    person text NOT NULL,
    until timestamptz,
    PRIMARY KEY (incident_id, person)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON incident_access TO tocsin_cases;
"""


def upgrade() -> None:
    run_sql(SQL)
