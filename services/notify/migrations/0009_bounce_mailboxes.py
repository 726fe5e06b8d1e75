"""How far mailboxes that bounces lie in were read."""

from shared.migrate import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(
        """
        -- UIDs grow while UIDVALIDITY stays (RFC 3501, 2.3.1.1).
        CREATE TABLE bounce_mailboxes (
            mailbox text PRIMARY KEY,
            uidvalidity bigint NOT NULL,
            last_uid bigint NOT NULL,
            read_at timestamptz NOT NULL
        );
        GRANT SELECT, INSERT, UPDATE ON bounce_mailboxes TO tocsin_notify;
        """
    )
