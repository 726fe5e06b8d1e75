"""What became of the indicators of each incident, so that their accuracy can be counted (R27);
and what was split off, so that what is not opened yet can be found.

The views are emptied and filled again from the log: their documents have new parts.
"""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"

SQL = """
CREATE TABLE incident_indicators (
    incident_id uuid NOT NULL,
    indicator_id uuid NOT NULL,
    attack_vector text NOT NULL,
    outcome text,
    PRIMARY KEY (incident_id, indicator_id)
);
CREATE INDEX incident_indicators_by_indicator ON incident_indicators (indicator_id, outcome);
CREATE TABLE splits (
    new_id uuid PRIMARY KEY,
    origin_id uuid NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON incident_indicators, splits TO tocsin_cases;
DELETE FROM timeline;
DELETE FROM incidents;
UPDATE projections SET position = 0 WHERE name = 'incidents';
"""


def upgrade() -> None:
    run_sql(SQL)
