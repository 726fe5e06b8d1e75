"""Evaluated blocks, detections and the outbox."""

from shared.migrate import run_sql
from shared.outbox import MESSAGING_SQL

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(MESSAGING_SQL)
    run_sql("""
    -- One row a block: the proof that every accepted event was evaluated (R13a), and the inbox.
    CREATE TABLE blocks (
        id uuid PRIMARY KEY,
        stream_seq bigint NOT NULL,
        events int NOT NULL,
        detections int NOT NULL,
        evaluated_at timestamptz NOT NULL
    );
    CREATE TABLE detections (
        id uuid PRIMARY KEY,
        raised_at timestamptz NOT NULL,
        rule_id text NOT NULL,
        level text NOT NULL,
        risk_score int NOT NULL,
        source_id text NOT NULL,
        tenant text,
        body text NOT NULL  -- the contract as published; text, since events may hold \\u0000
    );
    CREATE INDEX ON detections (raised_at DESC, id DESC);
    CREATE INDEX ON detections (rule_id, raised_at DESC);
    GRANT SELECT, INSERT ON blocks, detections TO tocsin_detect;
    GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO tocsin_detect;
    """)
