"""A key is destroyed only while what was found not to stand against it is as it was found."""

from shared.migrate import run_sql

revision = "0015"
down_revision = "0014"

# The destruction waits for appends that seal under the key, and then looks: whatever was committed
# to the streams before it, a legal hold above all, has it refused.
SQL = """
CREATE FUNCTION erase_key_at(
    p_erasure uuid, p_key uuid, p_scope text, p_incident uuid, p_by text, p_basis text,
    p_reference text, p_at timestamptz, p_position bigint, p_streams uuid[]
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = cases, pg_temp AS $$
BEGIN
    PERFORM FROM data_keys WHERE key_id = p_key AND destroyed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'gone';
    END IF;
    IF EXISTS (SELECT FROM events WHERE stream_id = ANY(p_streams) AND position > p_position) THEN
        RETURN 'changed';
    END IF;
    IF NOT erase_key(p_erasure, p_key, p_scope, p_incident, p_by, p_basis, p_reference, p_at) THEN
        RETURN 'gone';
    END IF;
    RETURN 'erased';
END $$;
REVOKE ALL ON FUNCTION erase_key_at FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_key_at TO tocsin_cases;
"""


def upgrade() -> None:
    run_sql(SQL)
