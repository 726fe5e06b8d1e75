"""What waits for whom, when the next thing is due, people's own views of the queue; and an index
of the log by type, from which the time between any two events is measured.

The views are emptied and filled again from the log: their rows have new columns.
"""

from shared.migrate import run_sql

revision = "0010"
down_revision = "0009"

SQL = """
ALTER TABLE incidents ADD COLUMN next_due timestamptz;
CREATE INDEX incidents_by_next_due ON incidents (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX incidents_restricted ON incidents (opened_position DESC) WHERE restricted;
CREATE TABLE work (
    incident_id uuid NOT NULL,
    kind text NOT NULL,
    ref text NOT NULL,
    person text,
    roles text[] NOT NULL,
    not_by text,
    what text NOT NULL,
    since timestamptz NOT NULL,
    due timestamptz,
    PRIMARY KEY (incident_id, kind, ref)
);
CREATE INDEX work_by_person ON work (person) WHERE person IS NOT NULL;
CREATE INDEX work_by_roles ON work USING gin (roles);
INSERT INTO projected_views VALUES ('work');
CREATE TABLE saved_views (
    view_id uuid PRIMARY KEY,
    owner text NOT NULL,
    name text NOT NULL,
    shared boolean NOT NULL,
    filters text NOT NULL,
    version integer NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (owner, name)
);
CREATE INDEX saved_views_shared ON saved_views (name) WHERE shared;
CREATE INDEX events_by_type ON events (type, stream_id, occurred_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON work, saved_views TO tocsin_cases;
DELETE FROM timeline;
DELETE FROM incidents;
DELETE FROM incident_access;
DELETE FROM incident_indicators;
DELETE FROM evidence;
DELETE FROM custody;
DELETE FROM splits;
DELETE FROM reviews;
DELETE FROM improvement_items;
UPDATE projections SET position = 0 WHERE name = 'incidents';
"""


def upgrade() -> None:
    run_sql(SQL)
