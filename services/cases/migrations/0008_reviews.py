"""Views of post-incident reviews, and of the improvement items that they ask for."""

from shared.migrate import run_sql

revision = "0008"
down_revision = "0007"

# A row of `reviews` begins with the incident's ReviewStarted; `started` is what nobody opened yet.
TABLES_SQL = """
CREATE TABLE reviews (
    review_id uuid PRIMARY KEY,
    incident_id uuid NOT NULL,
    started_position bigint NOT NULL UNIQUE,
    version integer NOT NULL,
    state text NOT NULL,
    document text NOT NULL
);
CREATE INDEX reviews_of_incident ON reviews (incident_id, started_position);
CREATE INDEX reviews_unopened ON reviews (started_position) WHERE state = 'started';
CREATE TABLE improvement_items (
    item_id uuid PRIMARY KEY,
    review_id uuid NOT NULL,
    incident_id uuid NOT NULL,
    created_position bigint NOT NULL,
    owner text NOT NULL,
    due timestamptz NOT NULL,
    target text NOT NULL,
    done boolean NOT NULL,
    document text NOT NULL
);
CREATE INDEX improvement_items_by_due ON improvement_items (due, item_id);
CREATE INDEX improvement_items_by_owner ON improvement_items (owner, due) WHERE NOT done;
"""

GRANTS_SQL = """
GRANT SELECT, INSERT, UPDATE, DELETE ON reviews, improvement_items TO tocsin_cases;
"""


def upgrade() -> None:
    for sql in (TABLES_SQL, GRANTS_SQL):
        run_sql(sql)
