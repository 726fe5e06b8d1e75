"""The keys under which personal data are sealed, and where each is used.

What was stored before stays as it is: unsealed events are readable for ever, and cannot be erased.
"""

from shared.migrate import run_sql

revision = "0011"
down_revision = "0010"

# A key is wrapped anew or destroyed, and nothing else ever happens to its row. `subject` is the
# incident's id, or for a person a keyed hash of the name (scope `index` has the key of that hash).
TABLES_SQL = """
CREATE TABLE data_keys (
    key_id uuid PRIMARY KEY,
    scope text NOT NULL CHECK (scope IN ('index', 'incident', 'person', 'evidence')),
    subject bytea NOT NULL,
    kek text,
    wrapped bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    destroyed_at timestamptz,
    CHECK (CASE WHEN destroyed_at IS NULL THEN kek IS NOT NULL AND wrapped IS NOT NULL
                ELSE kek IS NULL AND wrapped IS NULL END)
);
CREATE UNIQUE INDEX data_keys_alive ON data_keys (scope, subject) WHERE destroyed_at IS NULL;
CREATE INDEX data_keys_by_subject ON data_keys (scope, subject);
CREATE INDEX data_keys_destroyed ON data_keys (destroyed_at) WHERE destroyed_at IS NOT NULL;
CREATE TABLE key_uses (
    key_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    PRIMARY KEY (key_id, stream_id)
);
CREATE FUNCTION refuse_other_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.destroyed_at IS NULL AND (NEW.key_id, NEW.scope, NEW.subject, NEW.created_at)
        IS NOT DISTINCT FROM (OLD.key_id, OLD.scope, OLD.subject, OLD.created_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a data key is wrapped anew or destroyed: % refused', TG_OP
        USING ERRCODE = '42501';
END $$;
CREATE TRIGGER data_keys_change BEFORE UPDATE ON data_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_other_change();
CREATE TRIGGER data_keys_no_delete BEFORE DELETE ON data_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER data_keys_no_truncate BEFORE TRUNCATE ON data_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE data_keys ENABLE ALWAYS TRIGGER data_keys_change;
ALTER TABLE data_keys ENABLE ALWAYS TRIGGER data_keys_no_delete;
ALTER TABLE data_keys ENABLE ALWAYS TRIGGER data_keys_no_truncate;
"""

# TC004: an event was sealed under a key that has been destroyed since; it is to be sealed anew.
# FOR SHARE: a destruction waits for the append that has seen the key, or is seen by it.
FUNCTIONS_SQL = """
CREATE FUNCTION append_sealed(
    p_keys uuid[], p_streams uuid[], p_expected integer[], p_commands uuid[], p_digests text[],
    p_counts integer[], p_of integer[], p_nth integer[], p_event_ids uuid[], p_types text[],
    p_schemas integer[], p_data text[], p_actors text[], p_occurred timestamptz[]
) RETURNS TABLE (
    outcome text, current_version integer, first_version integer, last_version integer,
    last_position bigint
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM data_keys WHERE key_id = ANY(p_keys)
                              AND destroyed_at IS NULL FOR SHARE) k) < cardinality(p_keys) THEN
        RAISE EXCEPTION 'a key was destroyed' USING ERRCODE = 'TC004';
    END IF;
    RETURN QUERY SELECT * FROM append_many(
        p_streams, p_expected, p_commands, p_digests, p_counts, p_of, p_nth, p_event_ids, p_types,
        p_schemas, p_data, p_actors, p_occurred);
END $$;
CREATE FUNCTION rewrap_keys(p_keys uuid[], p_was bytea[], p_kek text, p_wrapped bytea[])
RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = cases, pg_temp AS $$
    WITH given AS (SELECT * FROM unnest(p_keys, p_was, p_wrapped) AS g(key_id, was, wrapped)),
    done AS (
        UPDATE data_keys k SET kek = p_kek, wrapped = g.wrapped FROM given g
        WHERE k.key_id = g.key_id AND k.wrapped = g.was RETURNING 1)
    SELECT count(*) FROM done
$$;
REVOKE ALL ON FUNCTION append_sealed, rewrap_keys FROM PUBLIC;
"""

GRANTS_SQL = """
GRANT SELECT, INSERT ON data_keys, key_uses TO tocsin_cases;
GRANT EXECUTE ON FUNCTION append_sealed, rewrap_keys TO tocsin_cases;
"""


def upgrade() -> None:
    for sql in (TABLES_SQL, FUNCTIONS_SQL, GRANTS_SQL):
        run_sql(sql)
