"""Severities that are waited for, and what came in by the doors of other tools."""

from shared.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("""
    -- Opened with the incident, closed when its severity is set or it ends (R23).
    CREATE TABLE severity_gates (
        incident_id uuid PRIMARY KEY,
        opened_at timestamptz NOT NULL,
        step int NOT NULL DEFAULT 0,    -- how often somebody was reminded
        closed_at timestamptz
    );
    CREATE INDEX ON severity_gates (opened_at) WHERE closed_at IS NULL;

    -- One row for what a sender calls one thing; opened anew after it was resolved.
    CREATE TABLE door_reports (
        door text NOT NULL,
        key text NOT NULL,              -- SHA-256 of dedup_key, groupKey or Message-ID
        generation int NOT NULL,
        case_id uuid NOT NULL,
        resolved boolean NOT NULL DEFAULT false,
        times int NOT NULL DEFAULT 1,
        last_at timestamptz NOT NULL,
        PRIMARY KEY (door, key)
    );

    GRANT SELECT, INSERT ON severity_gates, door_reports TO tocsin_escalate;
    GRANT UPDATE (step, closed_at) ON severity_gates TO tocsin_escalate;
    GRANT UPDATE (generation, case_id, resolved, times, last_at) ON door_reports TO tocsin_escalate;
    """)
