"""How often an obligation counted as met by a notice that came back."""

from shared.migrate import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql("ALTER TABLE obligation_board ADD COLUMN reopened integer NOT NULL DEFAULT 0")
