"""Triage: snoozes, suppressions, the risk of entities, what made a group a proposal."""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("""
    ALTER TABLE detection_groups
        ADD COLUMN snoozed_until timestamptz,
        ADD COLUMN snoozed_by text,
        ADD COLUMN snooze_reason text,
        ADD COLUMN cause text,        -- group, entity or storm: what crossed its threshold
        ADD COLUMN cause_rule text,   -- its weightiest rule, by which storms are noticed
        ADD COLUMN assessed text;     -- inputs, points and level told last, JSON
    CREATE INDEX ON detection_groups (cause_rule, proposed_at) WHERE cause_rule IS NOT NULL;
    CREATE INDEX ON detection_groups (risk DESC, id)
        WHERE merged_into IS NULL AND closed_at IS NULL AND proposed_at IS NULL;
    CREATE INDEX ON detection_groups (snoozed_until)
        WHERE snoozed_until IS NOT NULL AND proposed_at IS NULL;

    ALTER TABLE detections ADD COLUMN suppressed boolean NOT NULL DEFAULT false;

    CREATE TABLE entity_risk (
        key uuid PRIMARY KEY,         -- as of detection_groups
        kind text NOT NULL,
        value text NOT NULL,
        tenant text,
        heats text NOT NULL,          -- JSON: what each rule adds
        armed boolean NOT NULL,
        risk int NOT NULL,            -- as of risk_at; it fades after it
        risk_at timestamptz NOT NULL
    ) WITH (fillfactor = 80);
    CREATE INDEX ON entity_risk (risk DESC, key);

    CREATE TABLE triage_suppressions (
        id uuid PRIMARY KEY,
        rule_id text,
        kind text,
        value text,
        tenant text,
        reason text NOT NULL,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        ended_by text,
        ended_at timestamptz,
        hits bigint NOT NULL DEFAULT 0,
        last_hit_at timestamptz,
        CHECK (coalesce(rule_id, value, tenant) IS NOT NULL),
        CHECK (expires_at > created_at)
    );
    CREATE INDEX ON triage_suppressions (expires_at) WHERE ended_at IS NULL;

    GRANT SELECT, INSERT, UPDATE ON entity_risk TO tocsin_escalate;
    GRANT SELECT, INSERT ON triage_suppressions TO tocsin_escalate;
    GRANT UPDATE (ended_by, ended_at, hits, last_hit_at) ON triage_suppressions
        TO tocsin_escalate;
    """)
