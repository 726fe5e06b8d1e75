"""How far the evidence store's locks have followed the log."""

from shared.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("INSERT INTO projections VALUES ('evidence-locks', 0);")
