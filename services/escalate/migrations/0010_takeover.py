"""Pages that an instance was sending when it died, taken up by the one that follows it."""

from shared.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql("""
    ALTER TABLE pages ADD COLUMN claimed_by text;  -- the instance that is sending it
    GRANT UPDATE (claimed_by) ON pages TO tocsin_escalate;
    CREATE INDEX ON pages (claimed_by) WHERE claimed_by IS NOT NULL;
    DROP INDEX pages_channel_next_attempt_at_id_idx;  -- pages are claimed over all channels
    """)
