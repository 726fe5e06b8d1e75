"""Evaluated events per source, counted block by block and reported to ingest's ledger (R13a)."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("""
    ALTER TABLE blocks ADD COLUMN sources json;       -- source → events; null before this column
    ALTER TABLE blocks ADD COLUMN counted boolean NOT NULL DEFAULT true;
    ALTER TABLE blocks ALTER COLUMN counted SET DEFAULT false;
    CREATE INDEX blocks_uncounted ON blocks (id) WHERE NOT counted;
    CREATE TABLE evaluated (
        source_id text PRIMARY KEY,
        events bigint NOT NULL
    );
    GRANT UPDATE (counted) ON blocks TO tocsin_detect;
    GRANT SELECT, INSERT, UPDATE ON evaluated TO tocsin_detect;
    """)
