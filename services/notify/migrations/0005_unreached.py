"""Recipients refused for good, messages that reached nobody, and trying those again."""

from shared.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(
        """
        -- A round begins when a person has a failed message tried again.
        ALTER TABLE notifications
            ADD COLUMN round integer NOT NULL DEFAULT 0,
            ADD COLUMN undeliverable_at timestamptz;
        GRANT UPDATE (round, undeliverable_at) ON notifications TO tocsin_notify;

        ALTER TABLE bounces
            ADD COLUMN round integer NOT NULL DEFAULT 0,
            ADD COLUMN source text NOT NULL DEFAULT 'report'
                CHECK (source IN ('report', 'refusal', 'expired')),
            DROP CONSTRAINT bounces_pkey,
            ADD PRIMARY KEY (notification_id, recipient, action, round);
        """
    )
