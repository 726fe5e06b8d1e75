"""What was told last of an incident by version, and v-teams that are waited for (R25a)."""

from shared.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("""
    -- By which version of the incident it was told: what the broker had lost comes late (ADR 0021).
    ALTER TABLE incidents
        ADD COLUMN severity_version int NOT NULL DEFAULT 0,
        ADD COLUMN scope_version int NOT NULL DEFAULT 0;

    -- Opened with the escalation, closed when the v-team is formed or the incident ends.
    CREATE TABLE v_team_gates (
        incident_id uuid PRIMARY KEY,
        opened_at timestamptz NOT NULL,
        owning_team text NOT NULL,
        told_at timestamptz,            -- once, whoever asks
        closed_at timestamptz
    );
    CREATE INDEX ON v_team_gates (opened_at) WHERE closed_at IS NULL AND told_at IS NULL;

    GRANT SELECT, INSERT ON v_team_gates TO tocsin_escalate;
    GRANT UPDATE (opened_at, told_at, closed_at) ON v_team_gates TO tocsin_escalate;
    """)
