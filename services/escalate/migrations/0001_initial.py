"""Groups of detections, escalations, the page ledger, inbox and outbox."""

from shared.migrate import run_sql
from shared.outbox import MESSAGING_SQL

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(MESSAGING_SQL)
    run_sql("""
    CREATE TABLE detection_groups (
        id uuid PRIMARY KEY,
        key uuid NOT NULL,            -- derived from tenant and primary entity
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL,
        detections int NOT NULL,
        risk int NOT NULL,
        state text NOT NULL,          -- JSON; text, since names from logs may hold \\u0000
        merged_into uuid REFERENCES detection_groups,
        closed_at timestamptz,        -- its incident ended: it takes no more detections
        incident_id uuid UNIQUE,      -- set once, when it is proposed
        proposed_at timestamptz,
        proposal text,                -- as published, without the detections
        told int NOT NULL DEFAULT 0,  -- how many detections cases knows of
        tellings int NOT NULL DEFAULT 0,
        tell_after timestamptz,
        CHECK ((incident_id IS NULL) = (proposed_at IS NULL)),
        CHECK ((proposal IS NULL) = (proposed_at IS NULL))
    ) WITH (fillfactor = 80);
    CREATE INDEX ON detection_groups (key, last_seen)
        WHERE merged_into IS NULL AND closed_at IS NULL;
    CREATE INDEX ON detection_groups (merged_into) WHERE merged_into IS NOT NULL;
    CREATE INDEX ON detection_groups (proposed_at DESC, incident_id DESC)
        WHERE proposed_at IS NOT NULL;
    CREATE INDEX ON detection_groups (tell_after)
        WHERE proposed_at IS NOT NULL AND detections > told;

    CREATE TABLE detections (
        id uuid PRIMARY KEY,
        group_id uuid NOT NULL REFERENCES detection_groups,
        rule_id text NOT NULL,
        title text NOT NULL,
        level text NOT NULL,
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL,
        received_at timestamptz NOT NULL,
        body text,                    -- the message; only of the first of each rule in a group
        told boolean NOT NULL DEFAULT false
    );
    CREATE INDEX ON detections (group_id, first_seen, id);
    CREATE INDEX ON detections (group_id) WHERE body IS NOT NULL AND NOT told;

    -- What is known of incidents: only what routing and pages need.
    CREATE TABLE incidents (
        id uuid PRIMARY KEY,
        number text NOT NULL,
        title text NOT NULL DEFAULT '',
        severity text,
        services text[] NOT NULL DEFAULT '{}',
        regions text[] NOT NULL DEFAULT '{}',
        inputs text NOT NULL DEFAULT '{}'
    );

    -- At most one an incident (R08), and never without an owner.
    CREATE TABLE escalations (
        incident_id uuid PRIMARY KEY,
        escalation_id uuid NOT NULL,
        severity text NOT NULL,
        owning_team text NOT NULL CHECK (owning_team <> ''),
        engaged_teams text[] NOT NULL,
        routing_rules text[] NOT NULL,
        by_policy boolean NOT NULL,
        raised_at timestamptz NOT NULL,
        confirmed_at timestamptz      -- when cases said that the incident is escalated
    );

    CREATE TABLE pages (
        id uuid PRIMARY KEY,          -- also the key by which a receiver drops repeats
        incident_id uuid NOT NULL,
        team text NOT NULL,
        channel text NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL,
        attempts int NOT NULL DEFAULT 0,
        next_attempt_at timestamptz NOT NULL,
        last_error text,
        sent_at timestamptz
    );
    CREATE INDEX ON pages (next_attempt_at, id) WHERE sent_at IS NULL;
    CREATE INDEX ON pages (created_at DESC, id DESC);
    CREATE INDEX ON pages (incident_id);

    GRANT SELECT, INSERT ON inbox TO tocsin_escalate;
    GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO tocsin_escalate;
    GRANT SELECT, INSERT ON detection_groups, detections, incidents, escalations, pages
        TO tocsin_escalate;
    GRANT UPDATE ON detection_groups, incidents TO tocsin_escalate;
    GRANT UPDATE (told) ON detections TO tocsin_escalate;
    GRANT UPDATE (escalation_id, owning_team, confirmed_at) ON escalations TO tocsin_escalate;
    GRANT UPDATE (attempts, next_attempt_at, last_error, sent_at) ON pages TO tocsin_escalate;
    """)
