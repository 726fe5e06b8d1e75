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
        ADD COLUMN cause_rule text;   -- its weightiest rule, by which storms are noticed
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

    -- What the last severity of an incident was computed from; the next one says what changed.
    CREATE TABLE assessments (
        incident_id uuid PRIMARY KEY,
        inputs text NOT NULL,         -- JSON
        level text NOT NULL,
        points int NOT NULL,
        revision int NOT NULL
    );

    -- Never deleted: old results name a digest, which is explained by the text here.
    CREATE TABLE policy_versions (
        policy text NOT NULL,
        version text NOT NULL,
        digest text NOT NULL,
        content text NOT NULL,
        status text NOT NULL
            CHECK (status IN ('file', 'proposed', 'active', 'retired', 'rejected')),
        author text NOT NULL,
        reason text NOT NULL,
        proposed_at timestamptz NOT NULL,
        decided_by text,
        decided_at timestamptz,
        decision_reason text,
        PRIMARY KEY (policy, digest),
        CHECK (status <> 'active' OR decided_by <> author)
    );
    CREATE UNIQUE INDEX ON policy_versions (policy) WHERE status = 'active';

    GRANT SELECT, INSERT, UPDATE ON assessments TO tocsin_escalate;
    GRANT SELECT, INSERT ON policy_versions TO tocsin_escalate;
    GRANT UPDATE (status, decided_by, decided_at, decision_reason) ON policy_versions
        TO tocsin_escalate;
    GRANT SELECT, INSERT, UPDATE ON entity_risk TO tocsin_escalate;
    GRANT SELECT, INSERT ON triage_suppressions TO tocsin_escalate;
    GRANT UPDATE (ended_by, ended_at, hits, last_hit_at) ON triage_suppressions
        TO tocsin_escalate;
    """)
