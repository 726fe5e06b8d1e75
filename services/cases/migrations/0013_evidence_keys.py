"""Where sealed bytes of evidence lie: their own digest beside that of what was collected.

What was stored before stays as it is, in clear under its own digest, and stays readable.
"""

from shared.migrate import run_sql

revision = "0013"
down_revision = "0012"

SQL = """
CREATE TABLE evidence_blobs (
    stored text PRIMARY KEY CHECK (stored ~ '^[0-9a-f]{64}$'),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    key_id uuid NOT NULL UNIQUE REFERENCES data_keys,
    put_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX evidence_blobs_of ON evidence_blobs (sha256, put_at);
CREATE TRIGGER evidence_blobs_append_only BEFORE UPDATE OR DELETE ON evidence_blobs
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER evidence_blobs_no_truncate BEFORE TRUNCATE ON evidence_blobs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE evidence_blobs ENABLE ALWAYS TRIGGER evidence_blobs_append_only;
ALTER TABLE evidence_blobs ENABLE ALWAYS TRIGGER evidence_blobs_no_truncate;
CREATE FUNCTION destroy_evidence_key(p_key uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cases, pg_temp AS $$
BEGIN
    UPDATE data_keys SET kek = NULL, wrapped = NULL, destroyed_at = clock_timestamp()
    WHERE key_id = p_key AND scope = 'evidence' AND destroyed_at IS NULL;
    RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION destroy_evidence_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION destroy_evidence_key TO tocsin_cases;
GRANT SELECT, INSERT ON evidence_blobs TO tocsin_cases;
"""


def upgrade() -> None:
    run_sql(SQL)
