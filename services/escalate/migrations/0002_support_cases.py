"""Support cases with their append-only log, attachments by digest, status tokens."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("""
    CREATE TABLE support_cases (
        id uuid PRIMARY KEY,
        request_digest text NOT NULL,  -- of the request that opened it: a key is for one request
        reference text NOT NULL UNIQUE,
        source_kind text NOT NULL,
        tenant text,
        title text NOT NULL,
        statement text NOT NULL,
        observed_at timestamptz,
        opened_by text NOT NULL,
        opened_at timestamptz NOT NULL,
        team text NOT NULL CHECK (team <> ''),  -- never without somebody who answers for it
        assignee text,
        services text[] NOT NULL,
        regions text[] NOT NULL,
        status text NOT NULL,
        outcome text,
        acknowledge_by timestamptz,    -- the timer; none while nobody is waited for
        acknowledged_at timestamptz,
        acknowledged_by text,
        reminders int NOT NULL DEFAULT 0,
        attachments int NOT NULL DEFAULT 0,
        incident_id uuid UNIQUE,       -- set once, when it is converted
        incident_number text,
        incident_over boolean NOT NULL DEFAULT false,
        events int NOT NULL,
        CHECK ((incident_id IS NOT NULL) = (status = 'escalated'))
    ) WITH (fillfactor = 80);
    CREATE INDEX ON support_cases (opened_at DESC, id DESC);
    CREATE INDEX ON support_cases (tenant, opened_at DESC, id DESC);
    CREATE INDEX ON support_cases (acknowledge_by) WHERE acknowledge_by IS NOT NULL;

    CREATE TABLE support_case_events (
        case_id uuid NOT NULL REFERENCES support_cases,
        seq int NOT NULL,
        id uuid NOT NULL UNIQUE,
        kind text NOT NULL,
        at timestamptz NOT NULL,
        actor text NOT NULL,
        text text NOT NULL,
        public boolean NOT NULL,
        data text NOT NULL,
        PRIMARY KEY (case_id, seq)
    );

    CREATE TABLE attachments (
        digest text PRIMARY KEY,       -- SHA-256 of the content: the only name it is kept under
        content bytea NOT NULL
    );
    CREATE TABLE support_case_tokens (
        digest text PRIMARY KEY,       -- SHA-256 of the secret in the address
        case_id uuid NOT NULL REFERENCES support_cases,
        issued_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL
    );
    CREATE INDEX ON support_case_tokens (case_id);

    GRANT SELECT, INSERT ON support_cases, support_case_events, attachments TO tocsin_escalate;
    GRANT SELECT, INSERT, DELETE ON support_case_tokens TO tocsin_escalate;
    GRANT UPDATE (status, outcome, acknowledge_by, acknowledged_at, acknowledged_by, reminders,
        attachments, incident_id, incident_number, incident_over, services, regions, events)
        ON support_cases TO tocsin_escalate;
    """)
