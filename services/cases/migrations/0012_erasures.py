"""Erasures: the destruction of a key and the record of it are one transaction."""

from shared.migrate import run_sql

revision = "0012"
down_revision = "0011"

SQL = """
CREATE TABLE erasures (
    erasure_id uuid PRIMARY KEY,
    key_id uuid NOT NULL UNIQUE REFERENCES data_keys,
    scope text NOT NULL CHECK (scope IN ('incident', 'person')),
    incident_id uuid,
    requested_by text NOT NULL,
    basis text NOT NULL,
    reference text NOT NULL,
    at timestamptz NOT NULL
);
CREATE TABLE erasures_done (
    erasure_id uuid PRIMARY KEY REFERENCES erasures,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION erase_key(
    p_erasure uuid, p_key uuid, p_scope text, p_incident uuid, p_by text, p_basis text,
    p_reference text, p_at timestamptz
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = cases, pg_temp AS $$
BEGIN
    UPDATE data_keys SET kek = NULL, wrapped = NULL, destroyed_at = clock_timestamp()
    WHERE key_id = p_key AND scope = p_scope AND destroyed_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO erasures VALUES (p_erasure, p_key, p_scope, p_incident, p_by, p_basis,
                                 p_reference, p_at);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION erase_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_key TO tocsin_cases;
GRANT SELECT ON erasures TO tocsin_cases;
GRANT SELECT, INSERT ON erasures_done TO tocsin_cases;
"""

APPEND_ONLY_SQL = "".join(
    f"""
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_truncate;
"""
    for table in ("erasures", "erasures_done")
)


def upgrade() -> None:
    for sql in (SQL, APPEND_ONLY_SQL):
        run_sql(sql)
