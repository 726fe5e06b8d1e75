"""Erasures: working copies go at once, what was sent is proof and stays for a while (I10)."""

from shared.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(
        """
        CREATE TABLE erasures (
            incident_id uuid PRIMARY KEY REFERENCES incidents,
            erasure_id uuid NOT NULL,
            basis text NOT NULL,
            reference text NOT NULL,
            erased_at timestamptz NOT NULL
        );

        -- SHA-256 of what left (an e-mail's text, a webhook's body), written when it is erased or
        -- its incident is; the words go with text_erased_at, the row stays.
        ALTER TABLE notifications
            ADD COLUMN content_sha256 text,
            ADD COLUMN text_erased_at timestamptz,
            ADD CHECK (text_erased_at IS NULL OR content_sha256 IS NOT NULL);

        GRANT SELECT, INSERT, UPDATE ON erasures TO tocsin_notify;
        GRANT UPDATE (fields) ON notices TO tocsin_notify;
        GRANT UPDATE (statement) ON corrections TO tocsin_notify;
        GRANT UPDATE (recipients, content, content_sha256, text_erased_at) ON notifications
            TO tocsin_notify;
        GRANT UPDATE (acknowledged_by) ON acknowledgements TO tocsin_notify;
        GRANT DELETE ON bounces TO tocsin_notify;
        """
    )
