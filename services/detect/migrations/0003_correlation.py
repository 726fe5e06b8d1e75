"""Correlation: how far each partition is, and the state it goes on from."""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("""
    -- seq: up to here its detections are committed; snapshot_seq: up to here its state is.
    CREATE TABLE correlation_partitions (
        partition int PRIMARY KEY,
        seq bigint NOT NULL,
        snapshot_seq bigint NOT NULL
    );
    CREATE TABLE correlation_snapshots (
        partition int NOT NULL,
        chunk int NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (partition, chunk)
    );
    -- Events of a correlation's window that came after it had fired.
    ALTER TABLE detections ADD COLUMN events int;
    ALTER TABLE detections ADD COLUMN last_event_at timestamptz;
    GRANT SELECT, INSERT, UPDATE ON correlation_partitions TO tocsin_detect;
    GRANT SELECT, INSERT, DELETE ON correlation_snapshots TO tocsin_detect;
    GRANT UPDATE (events, last_event_at) ON detections TO tocsin_detect;
    """)
