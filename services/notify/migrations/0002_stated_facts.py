"""What legal states of an incident beyond the inputs of its severity (§4.1)."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(
        """
        -- A statement never changes: a new one stands over it, whole.
        CREATE TABLE stated_facts (
            incident_id uuid NOT NULL REFERENCES incidents,
            version integer NOT NULL,
            facts text NOT NULL,
            stated_by text NOT NULL,
            stated_at timestamptz NOT NULL,
            reason text NOT NULL,
            PRIMARY KEY (incident_id, version)
        );
        GRANT SELECT, INSERT ON stated_facts TO tocsin_notify;
        """
    )
