"""What was done about obligations, the board of those that run, and calendar feeds of it."""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(
        """
        CREATE TABLE obligation_steps (
            obligation_id uuid NOT NULL,
            step integer NOT NULL,
            kind text NOT NULL,
            at timestamptz NOT NULL,
            by_whom text NOT NULL,
            detail text NOT NULL,
            PRIMARY KEY (obligation_id, step)
        );

        -- Derived from obligations and their steps in the same transaction; never read to decide.
        CREATE TABLE obligation_board (
            obligation_id uuid PRIMARY KEY,
            incident_id uuid NOT NULL REFERENCES incidents,
            regime text NOT NULL,
            phase text NOT NULL,
            recipient text NOT NULL,
            tenant text,
            holder text NOT NULL,
            stage text NOT NULL,
            provisional boolean NOT NULL,
            internal_target boolean NOT NULL,
            held boolean NOT NULL,
            late_reason_missing boolean NOT NULL,
            clock_at timestamptz NOT NULL,
            due_at timestamptz NOT NULL,
            next_alarm_at timestamptz
        );
        CREATE INDEX obligation_board_due ON obligation_board (due_at, obligation_id)
            WHERE stage IN ('undecided', 'triggered', 'drafted', 'approved');
        CREATE INDEX obligation_board_incident ON obligation_board (incident_id, tenant);
        CREATE INDEX obligation_board_alarm ON obligation_board (next_alarm_at)
            WHERE next_alarm_at IS NOT NULL;

        CREATE TABLE calendar_feeds (
            digest text PRIMARY KEY,
            owner text NOT NULL,
            filters text NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            revoked_at timestamptz
        );

        GRANT SELECT, INSERT ON obligation_steps TO tocsin_notify;
        GRANT SELECT, INSERT, UPDATE ON obligation_board TO tocsin_notify;
        GRANT SELECT, INSERT ON calendar_feeds TO tocsin_notify;
        GRANT UPDATE (revoked_at) ON calendar_feeds TO tocsin_notify;
        """
    )
