"""Leaves of the Merkle tree in the append's own transaction, checkpoints, many appends at once."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"

# The second hand that makes the same text is services/cases/ledger/leaf.py. to_json escapes a
# string exactly as RFC 8785 does; `data` is canonical already (older rows: as they were written).
LEAVES_SQL = """
CREATE FUNCTION leaf_of(
    e_position bigint, e_stream uuid, e_version integer, e_id uuid, e_type text, e_schema integer,
    e_data text, e_actor text, e_occurred timestamptz, e_recorded timestamptz, e_command uuid
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256('\\x00'::bytea || convert_to(
        '{"actor":' || to_json(e_actor)::text
        || ',"command_id":"' || e_command || '","data":' || e_data || ',"event_id":"' || e_id
        || '","occurred_at":"'
        || to_char(e_occurred AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","position":' || e_position || ',"recorded_at":"'
        || to_char(e_recorded AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","schema":' || e_schema || ',"stream_id":"' || e_stream
        || '","type":' || to_json(e_type)::text || ',"version":' || e_version || '}', 'UTF8'))
$$;
CREATE TABLE leaves (
    position bigint PRIMARY KEY CHECK (position > 0),
    hash bytea NOT NULL CHECK (length(hash) = 32)
);
-- Perfect subtrees of 256, 65,536, … leaves: a proof reads some hundred rows, not the whole log.
CREATE TABLE tree_nodes (
    level integer NOT NULL,
    index bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, index)
);
CREATE TABLE checkpoints (
    size bigint PRIMARY KEY CHECK (size > 0),
    note text NOT NULL
);
LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE;
INSERT INTO leaves SELECT position, leaf_of(position, stream_id, version, event_id, type, schema,
                                            data, actor, occurred_at, recorded_at, command_id)
FROM events;
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
    for table in ("leaves", "tree_nodes", "checkpoints")
)

# One call is one transaction for many appends, each judged on its own: a stale one is told so and
# the others are written. Of those that expect the same version of a stream the first wins; one that
# expects what the winner makes is 'later': to be asked again. A command id may stand in a call only
# once (TC003). Event k belongs to append p_of[k], as its p_nth[k]-th.
APPEND_SQL = """
CREATE FUNCTION append_many(
    p_streams uuid[], p_expected integer[], p_commands uuid[], p_digests text[], p_counts integer[],
    p_of integer[], p_nth integer[], p_event_ids uuid[], p_types text[], p_schemas integer[],
    p_data text[], p_actors text[], p_occurred timestamptz[]
) RETURNS TABLE (
    outcome text, current_version integer, first_version integer, last_version integer,
    last_position bigint
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    head bigint;
    at timestamptz;
BEGIN
    IF (SELECT count(DISTINCT c) FROM unnest(p_commands) c) <> cardinality(p_commands) THEN
        RAISE EXCEPTION 'a command stands twice in one call' USING ERRCODE = 'TC003';
    END IF;
    SELECT position INTO STRICT head FROM log_head WHERE id = 1 FOR UPDATE;
    at := clock_timestamp();
    RETURN QUERY
    WITH asked AS (
        SELECT * FROM unnest(p_streams, p_expected, p_commands, p_digests, p_counts)
            WITH ORDINALITY AS a(stream, expected, command, digest, n, i)
    ), known AS (
        -- LIMIT keeps each look an index lookup, whatever plan was cached when tables were small.
        SELECT a.*, v.current, k.first_version AS k_first, k.last_version AS k_last,
               k.last_position AS k_position,
               CASE WHEN k.command_id IS NULL THEN
                        CASE WHEN v.current = a.expected THEN 'fits' ELSE 'stale' END
                    WHEN k.digest = a.digest AND k.stream_id = a.stream THEN 'known'
                    ELSE 'reused' END AS first_look
        FROM asked a
        CROSS JOIN LATERAL (
            SELECT coalesce((SELECT e.version FROM events e WHERE e.stream_id = a.stream
                             ORDER BY e.version DESC LIMIT 1), 0) AS current
        ) v
        LEFT JOIN LATERAL (
            SELECT * FROM commands c WHERE c.command_id = a.command LIMIT 1
        ) k ON true
    ), ranked AS (
        SELECT k.*, k.first_look = 'fits' AND
                    row_number() OVER (PARTITION BY stream, first_look ORDER BY i) = 1 AS wins
        FROM known k
    ), judged AS (
        SELECT r.*, r.current + coalesce(w.n, 0) AS becomes,
               CASE WHEN r.wins THEN 'done'
                    WHEN r.first_look IN ('fits', 'stale') THEN
                        CASE WHEN r.expected = r.current + w.n AND r.i > w.i THEN 'later'
                             ELSE 'stale' END
                    ELSE r.first_look END AS outcome
        FROM ranked r LEFT JOIN ranked w ON w.stream = r.stream AND w.wins
    ), placed AS (
        SELECT j.*, head + coalesce(sum(j.n) FILTER (WHERE j.outcome = 'done') OVER (
            ORDER BY j.i ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS before
        FROM judged j
    ), fresh AS (
        SELECT p.before + f.nth AS position, p.stream, p.current + f.nth AS version, f.event_id,
               f.type, f.schema, f.data, f.actor, f.occurred, p.command
        FROM unnest(p_of, p_nth, p_event_ids, p_types, p_schemas, p_data, p_actors, p_occurred)
            AS f(of, nth, event_id, type, schema, data, actor, occurred)
        JOIN placed p ON p.i = f.of WHERE p.outcome = 'done'
    ), new_events AS (
        INSERT INTO events (position, stream_id, version, event_id, type, schema, data, actor,
                            occurred_at, recorded_at, command_id)
        SELECT position, stream, version, event_id, type, schema, data, actor, occurred, at, command
        FROM fresh ORDER BY position
    ), new_leaves AS (
        INSERT INTO leaves
        SELECT position, leaf_of(position, stream, version, event_id, type, schema, data, actor,
                                 occurred, at, command)
        FROM fresh ORDER BY position
    ), new_commands AS (
        INSERT INTO commands (command_id, digest, stream_id, first_version, last_version,
                              last_position)
        SELECT command, digest, stream, current + 1, current + n, before + n
        FROM placed WHERE outcome = 'done'
    ), moved AS (
        UPDATE log_head SET position = position + (SELECT count(*) FROM fresh)
        WHERE id = 1 AND EXISTS (SELECT FROM fresh)
    )
    SELECT p.outcome, p.becomes, coalesce(p.k_first, p.current + 1),
           coalesce(p.k_last, p.current + p.n), coalesce(p.k_position, p.before + p.n)
    FROM placed p ORDER BY p.i;
END $$;
REVOKE ALL ON FUNCTION append_many FROM PUBLIC;

-- The call of 0001, kept for replicas that still run the program before this one.
CREATE OR REPLACE FUNCTION append(
    p_stream uuid, p_expected integer, p_command uuid, p_digest text,
    p_event_ids uuid[], p_types text[], p_schemas integer[], p_data text[],
    p_actors text[], p_occurred timestamptz[],
    OUT first_version integer, OUT last_version integer, OUT last_position bigint,
    OUT replayed boolean
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    n integer := cardinality(p_event_ids);
    found record;
BEGIN
    SELECT * INTO STRICT found FROM append_many(
        ARRAY[p_stream], ARRAY[p_expected], ARRAY[p_command], ARRAY[p_digest], ARRAY[n],
        array_fill(1, ARRAY[n]), ARRAY(SELECT generate_series(1, n)), p_event_ids, p_types,
        p_schemas, p_data, p_actors, p_occurred);
    IF found.outcome = 'reused' THEN
        RAISE EXCEPTION 'command % was used for something else', p_command USING ERRCODE = 'TC002';
    ELSIF found.outcome = 'stale' THEN
        RAISE EXCEPTION 'stream % is at version %, not %', p_stream, found.current_version,
            p_expected USING ERRCODE = 'TC001', DETAIL = found.current_version::text;
    END IF;
    first_version := found.first_version;
    last_version := found.last_version;
    last_position := found.last_position;
    replayed := found.outcome = 'known';
END $$;
"""

# Leaves come from `append_many` alone. What the service may add itself is signed, or follows from
# the leaves and is compared with them by `tocsin verify`.
GRANTS_SQL = """
GRANT EXECUTE ON FUNCTION append_many TO tocsin_cases;
GRANT SELECT ON leaves TO tocsin_cases;
GRANT SELECT, INSERT ON tree_nodes, checkpoints TO tocsin_cases;
"""


def upgrade() -> None:
    for sql in (LEAVES_SQL, APPEND_ONLY_SQL, APPEND_SQL, GRANTS_SQL):
        run_sql(sql)
