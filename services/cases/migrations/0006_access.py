"""Need-to-know: which incidents are restricted, who sees each of those, and who has read them.

The views are emptied and filled again from the log: their rows have new parts.
"""

from shared.migrate import run_sql

revision = "0006"
down_revision = "0005"

# `reads` is a record like the log: the service adds to it and nobody changes it.
SQL = """
ALTER TABLE incidents ADD COLUMN restricted boolean NOT NULL DEFAULT false;
CREATE TABLE incident_access (
    incident_id uuid NOT NULL,
    person text NOT NULL,
    until timestamptz,
    PRIMARY KEY (incident_id, person)
);
CREATE INDEX events_restricting ON events (stream_id, position)
    WHERE type = 'AccessRestricted.v1';
CREATE TABLE reads (
    read_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    person text NOT NULL,
    roles text[] NOT NULL,
    incident_id uuid NOT NULL,
    what text NOT NULL
);
CREATE INDEX reads_by_incident ON reads (incident_id, read_id);
CREATE TRIGGER reads_append_only BEFORE UPDATE OR DELETE ON reads
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER reads_no_truncate BEFORE TRUNCATE ON reads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE reads ENABLE ALWAYS TRIGGER reads_append_only;
ALTER TABLE reads ENABLE ALWAYS TRIGGER reads_no_truncate;
GRANT SELECT, INSERT, UPDATE, DELETE ON incident_access TO tocsin_cases;
GRANT SELECT, INSERT ON reads TO tocsin_cases;
DELETE FROM timeline;
DELETE FROM incidents;
DELETE FROM incident_indicators;
DELETE FROM evidence;
DELETE FROM custody;
DELETE FROM splits;
UPDATE projections SET position = 0 WHERE name = 'incidents';
"""


def upgrade() -> None:
    run_sql(SQL)
