"""Rules as they come and go (R14), verdicts (R04a), suppressions, throttling, asset tiers."""

from shared.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("""
    -- The history of each managed rule; what is in `managed_rules` can be told from it.
    CREATE TABLE rule_events (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        rule_id uuid NOT NULL,
        version int NOT NULL,
        type text NOT NULL,
        actor text NOT NULL,
        at timestamptz NOT NULL,
        body json NOT NULL,
        UNIQUE (rule_id, version)
    );
    CREATE TABLE managed_rules (
        rule_id uuid PRIMARY KEY,
        version int NOT NULL,
        state text NOT NULL,
        title text NOT NULL,
        origin text NOT NULL,
        active_text text,
        retired boolean NOT NULL,
        changed_at timestamptz NOT NULL
    );
    CREATE TABLE backtests (
        replay_id uuid PRIMARY KEY,
        rule_id uuid NOT NULL,
        rule_text text NOT NULL,
        finished boolean NOT NULL DEFAULT false
    );
    CREATE TABLE backtest_blocks (
        replay_id uuid NOT NULL REFERENCES backtests,
        block_id uuid NOT NULL,
        events int NOT NULL,
        matches bytea NOT NULL,
        PRIMARY KEY (replay_id, block_id)
    );
    CREATE TABLE rule_verdicts (
        rule_id text NOT NULL,
        incident_id uuid NOT NULL,
        malicious boolean NOT NULL,
        at timestamptz NOT NULL,
        PRIMARY KEY (rule_id, incident_id)
    );
    CREATE TABLE suppressions (
        id uuid PRIMARY KEY,
        rule_id text,
        entity_type text,
        entity_value text,
        tenant text,
        reason text NOT NULL,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        ended_at timestamptz,
        ended_by text,
        suppressed bigint NOT NULL DEFAULT 0
    );
    CREATE TABLE detection_throttles (
        key text NOT NULL,
        period timestamptz NOT NULL,
        seen bigint NOT NULL,
        PRIMARY KEY (key, period)
    );
    CREATE TABLE asset_tiers (
        type text NOT NULL,
        value text NOT NULL,
        tier int NOT NULL CHECK (tier BETWEEN 1 AND 4),
        set_by text NOT NULL,
        set_at timestamptz NOT NULL,
        PRIMARY KEY (type, value)
    );
    ALTER TABLE detections ADD COLUMN entities text[] NOT NULL DEFAULT '{}';
    ALTER TABLE detections ADD COLUMN withheld text;  -- suppressed, throttled: recorded, not told
    ALTER TABLE detections ADD COLUMN suppression_id uuid;
    ALTER TABLE detections ADD COLUMN group_key text;
    ALTER TABLE detections ADD COLUMN base_score double precision;  -- before the asset's tier
    CREATE INDEX ON detections USING gin (entities);
    CREATE INDEX ON detections (risk_score DESC, raised_at DESC, id DESC);
    CREATE INDEX ON detections (group_key, raised_at DESC);
    GRANT SELECT, INSERT ON rule_events TO tocsin_detect;
    GRANT SELECT, INSERT, UPDATE ON
        managed_rules, backtests, rule_verdicts, suppressions, asset_tiers TO tocsin_detect;
    GRANT SELECT, INSERT, DELETE ON backtest_blocks TO tocsin_detect;
    GRANT SELECT, INSERT, UPDATE, DELETE ON detection_throttles TO tocsin_detect;
    GRANT UPDATE (risk_score) ON detections TO tocsin_detect;
    GRANT SELECT, INSERT ON inbox TO tocsin_detect;
    """)
