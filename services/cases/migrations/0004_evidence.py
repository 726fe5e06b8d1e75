"""Views of evidence: the items, and their chains of custody. The record itself is the log."""

from shared.migrate import run_sql

revision = "0004"
down_revision = "0003"

TABLES_SQL = """
CREATE TABLE evidence (
    evidence_id uuid PRIMARY KEY,
    incident_id uuid NOT NULL,
    registered_position bigint NOT NULL UNIQUE,
    state text NOT NULL,
    sha256 text,
    declared_sha256 text,
    verified_at timestamptz,
    frozen boolean NOT NULL,
    document text NOT NULL
);
CREATE INDEX evidence_of_incident ON evidence (incident_id, registered_position);
CREATE INDEX evidence_by_digest ON evidence (sha256);
CREATE INDEX evidence_announced ON evidence (declared_sha256) WHERE state = 'registered';
CREATE INDEX evidence_to_verify ON evidence (verified_at)
    WHERE state IN ('collected', 'sealed', 'released') AND NOT frozen;
CREATE TABLE custody (
    position bigint PRIMARY KEY,
    evidence_id uuid NOT NULL,
    version integer NOT NULL,
    entry text NOT NULL,
    UNIQUE (evidence_id, version)
);
"""

GRANTS_SQL = """
GRANT SELECT, INSERT, UPDATE, DELETE ON evidence, custody TO tocsin_cases;
"""


def upgrade() -> None:
    for sql in (TABLES_SQL, GRANTS_SQL):
        run_sql(sql)
