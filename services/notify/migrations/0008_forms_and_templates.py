"""Forms as they were approved; which template a message was rendered from, and its words."""

from shared.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(
        """
        -- One row an approval; what was approved is handed in, whatever templates say later.
        CREATE TABLE obligation_forms (
            obligation_id uuid NOT NULL,
            step integer NOT NULL,
            document bytea NOT NULL,
            document_sha256 text NOT NULL,
            pdf bytea NOT NULL,
            pdf_sha256 text NOT NULL,
            -- Proof of what was handed in, until its retention ends; the digests stay.
            text_erased_at timestamptz,
            PRIMARY KEY (obligation_id, step)
        );

        -- Templates that something was rendered from, by the digest of all that they say.
        CREATE TABLE used_templates (
            digest text PRIMARY KEY,
            document text NOT NULL,
            used_at timestamptz NOT NULL
        );

        ALTER TABLE notifications
            ADD COLUMN template_id text NOT NULL DEFAULT 'customer_notice',
            ADD COLUMN template_version text NOT NULL DEFAULT '2026.11.0',
            ADD COLUMN locale text NOT NULL DEFAULT 'en',
            -- What it says, by the names that regimes ask for; null: before this was recorded.
            ADD COLUMN covers text;

        GRANT SELECT, INSERT ON obligation_forms, used_templates TO tocsin_notify;

        CREATE FUNCTION blot_form(p_obligation uuid, p_step integer, p_at timestamptz)
        RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = notify, pg_temp AS $$
            UPDATE obligation_forms SET document = '{}', pdf = '', text_erased_at = p_at
            WHERE obligation_id = p_obligation AND step = p_step AND text_erased_at IS NULL
        $$;
        REVOKE ALL ON FUNCTION blot_form FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION blot_form TO tocsin_notify;
        """
    )
