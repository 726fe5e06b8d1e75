"""What was handled long ago is known by when it happened: inbox rows are forgotten in time."""

from shared.migrate import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql("""
    -- Whatever happened before this instant was handled, or is lost. CASES needs it: a broker that
    -- lost its data is filled again from the beginning of the log.
    CREATE TABLE inbox_floors (
        consumer text PRIMARY KEY,
        until timestamptz NOT NULL
    );
    GRANT SELECT, INSERT, UPDATE ON inbox_floors TO tocsin_escalate;
    DROP INDEX inbox_received_at_idx;
    CREATE INDEX ON inbox (received_at);
    """)
