"""Erasures: drafts that nobody needs any more may be blotted out, and nothing else (I10)."""

from shared.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(
        """
        ALTER TABLE obligation_steps ADD COLUMN erased_at timestamptz;

        -- The names of the contents stay, their words go: what was complete still is.
        CREATE FUNCTION blot_draft(
            p_obligation uuid, p_step integer, p_sha256 text, p_at timestamptz
        ) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = notify, pg_temp AS $$
            UPDATE obligation_steps SET erased_at = p_at, detail = json_build_object(
                'content', (SELECT coalesce(json_object_agg(key, '[erased]'), '{}')
                            FROM json_each(detail::json -> 'content')),
                'content_sha256', p_sha256)::text
            WHERE obligation_id = p_obligation AND step = p_step AND kind = 'draft'
                AND erased_at IS NULL
        $$;
        REVOKE ALL ON FUNCTION blot_draft FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION blot_draft TO tocsin_notify;
        """
    )
