"""Chains of pages, acknowledgements, engagements of experts, overrides of schedules."""

from shared.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("""
    -- One for each cause and team: who is asked next, and when, until somebody answers.
    CREATE TABLE page_chains (
        id uuid PRIMARY KEY,
        incident_id uuid NOT NULL,
        team text NOT NULL,
        severity text,
        reason text NOT NULL,
        people text[] NOT NULL DEFAULT '{}',   -- only these of the team (RT6)
        channel text NOT NULL,                 -- for a team that nobody described
        engagement_id uuid,
        started_at timestamptz NOT NULL,
        position int NOT NULL DEFAULT 0,
        due_at timestamptz,                    -- null: over
        ended text,
        acknowledged_by text,
        acknowledged_at timestamptz,
        CHECK ((due_at IS NULL) = (ended IS NOT NULL))
    ) WITH (fillfactor = 80);
    CREATE INDEX ON page_chains (due_at) WHERE due_at IS NOT NULL;
    CREATE INDEX ON page_chains (incident_id);

    ALTER TABLE pages
        ADD COLUMN chain_id uuid REFERENCES page_chains,
        ADD COLUMN turn int NOT NULL DEFAULT 0,
        ADD COLUMN person text,
        ADD COLUMN recipient text NOT NULL DEFAULT '',  -- address, or name of a secret
        ADD COLUMN due_at timestamptz,                  -- when its turn was due
        ADD COLUMN dropped_at timestamptz,              -- answered before it went out
        ADD COLUMN acknowledged_at timestamptz,
        ADD COLUMN acknowledged_by text,
        ADD COLUMN link_used_at timestamptz;
    CREATE INDEX ON pages (channel, next_attempt_at, id)
        WHERE sent_at IS NULL AND dropped_at IS NULL;
    CREATE INDEX ON pages (chain_id);

    -- Signs the links of pages; drawn once, the same for all instances.
    CREATE TABLE link_keys (
        id int PRIMARY KEY CHECK (id = 1),
        key bytea NOT NULL
    );

    CREATE TABLE engagements (
        id uuid PRIMARY KEY,
        incident_id uuid NOT NULL,
        team text NOT NULL,
        team_kind text NOT NULL,
        required boolean NOT NULL,
        routing_rules text[] NOT NULL,
        status text NOT NULL CHECK (status IN ('requested', 'accepted', 'declined', 'released')),
        person text,
        reason text NOT NULL DEFAULT '',
        requested_by text NOT NULL,
        requested_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL
    );
    CREATE INDEX ON engagements (incident_id, requested_at);

    CREATE TABLE oncall_overrides (
        id uuid PRIMARY KEY,
        schedule text NOT NULL,
        person text NOT NULL,
        starts_at timestamptz NOT NULL,
        ends_at timestamptz NOT NULL,
        reason text NOT NULL,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL,
        cancelled_by text,
        cancelled_at timestamptz,
        CHECK (starts_at < ends_at)
    );
    CREATE INDEX ON oncall_overrides (ends_at) WHERE cancelled_at IS NULL;

    ALTER TABLE incidents ADD COLUMN source_kind text NOT NULL DEFAULT '';

    GRANT SELECT, INSERT ON page_chains, link_keys, engagements, oncall_overrides
        TO tocsin_escalate;
    GRANT UPDATE (position, due_at, ended, acknowledged_by, acknowledged_at) ON page_chains
        TO tocsin_escalate;
    GRANT UPDATE (dropped_at, acknowledged_at, acknowledged_by, link_used_at) ON pages
        TO tocsin_escalate;
    GRANT UPDATE (status, person, reason, changed_at) ON engagements TO tocsin_escalate;
    GRANT UPDATE (cancelled_by, cancelled_at) ON oncall_overrides TO tocsin_escalate;
    """)
