"""The log's signing key handed over from one to the next: notes signed by both."""

from shared.migrate import run_sql

revision = "0014"
down_revision = "0013"

# Only an administrator adds to it (`tocsin cases rotate-log-key`); the service reads.
SQL = """
CREATE TABLE log_handovers (
    number integer PRIMARY KEY CHECK (number > 0),
    note text NOT NULL
);
CREATE TRIGGER log_handovers_append_only BEFORE UPDATE OR DELETE ON log_handovers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER log_handovers_no_truncate BEFORE TRUNCATE ON log_handovers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE log_handovers ENABLE ALWAYS TRIGGER log_handovers_append_only;
ALTER TABLE log_handovers ENABLE ALWAYS TRIGGER log_handovers_no_truncate;
GRANT SELECT ON log_handovers TO tocsin_cases;
"""


def upgrade() -> None:
    run_sql(SQL)
