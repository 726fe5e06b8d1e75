"""What the queue is filtered and searched by, and where events that concern two incidents are.

The views are emptied and filled again from the log: their rows have new columns.
"""

from shared.migrate import run_sql

revision = "0005"
down_revision = "0004"

# `search` is made by the projector (services/cases/views/searchable.py), so that what is under
# legal privilege never gets into it. The types in the index are those of links.TWO_ENDED.
SQL = """
ALTER TABLE incidents
    ADD COLUMN priority text,
    ADD COLUMN owning_team text,
    ADD COLUMN source_kind text,
    ADD COLUMN services text[] NOT NULL DEFAULT '{}',
    ADD COLUMN regions text[] NOT NULL DEFAULT '{}',
    ADD COLUMN people text[] NOT NULL DEFAULT '{}',
    ADD COLUMN search tsvector NOT NULL DEFAULT ''::tsvector;
CREATE INDEX incidents_by_search ON incidents USING gin (search);
CREATE INDEX incidents_by_services ON incidents USING gin (services);
CREATE INDEX incidents_by_people ON incidents USING gin (people);
CREATE INDEX incidents_by_severity ON incidents (severity, opened_position DESC);
CREATE INDEX events_of_two_incidents ON events (position)
    WHERE type IN ('IncidentLinked.v1', 'IncidentUnlinked.v1', 'IncidentMerged.v1',
                   'IncidentUnmerged.v1', 'IncidentReopened.v1');
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
