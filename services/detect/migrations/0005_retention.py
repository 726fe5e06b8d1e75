"""What was noted so as not to do a thing twice can be forgotten."""

from shared.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("""
    CREATE INDEX blocks_by_age ON blocks (evaluated_at) WHERE counted;
    GRANT DELETE ON blocks, inbox, backtests TO tocsin_detect;
    """)
