"""The append-only log, the commands it answered, and the views projected from it."""

from shared.migrate import run_sql

revision = "0001"
down_revision = None

# One row is locked for every append, so positions are gapless and become visible in their order
# (docs/adr/0004-log-ordering.md). `data` is text, as JSON may hold \u0000.
LOG_SQL = """
CREATE TABLE events (
    position bigint PRIMARY KEY CHECK (position > 0),
    stream_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    event_id uuid NOT NULL UNIQUE,
    type text NOT NULL,
    schema integer NOT NULL,
    data text NOT NULL,
    actor text NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    command_id uuid NOT NULL,
    UNIQUE (stream_id, version)
);
CREATE TABLE log_head (
    id integer PRIMARY KEY CHECK (id = 1),
    position bigint NOT NULL
);
INSERT INTO log_head VALUES (1, 0);
CREATE TABLE commands (
    command_id uuid PRIMARY KEY,
    digest text NOT NULL,
    stream_id uuid NOT NULL,
    first_version integer NOT NULL,
    last_version integer NOT NULL,
    last_position bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE incident_numbers (
    year integer PRIMARY KEY,
    last integer NOT NULL
);
"""

APPEND_ONLY_SQL = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = '42501';
END $$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER commands_append_only BEFORE UPDATE OR DELETE ON commands
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER commands_no_truncate BEFORE TRUNCATE ON commands
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- ALWAYS: session_replication_role = replica passes plain triggers by (delivery reference §4.2).
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_no_truncate;
ALTER TABLE commands ENABLE ALWAYS TRIGGER commands_append_only;
ALTER TABLE commands ENABLE ALWAYS TRIGGER commands_no_truncate;
"""

# SQLSTATE TC001: the stream is elsewhere; DETAIL is its version. TC002: the command id is taken.
APPEND_SQL = """
CREATE FUNCTION append(
    p_stream uuid, p_expected integer, p_command uuid, p_digest text,
    p_event_ids uuid[], p_types text[], p_schemas integer[], p_data text[],
    p_actors text[], p_occurred timestamptz[],
    OUT first_version integer, OUT last_version integer, OUT last_position bigint,
    OUT replayed boolean
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    n integer := cardinality(p_event_ids);
    head bigint;
    current integer;
    known commands%ROWTYPE;
BEGIN
    SELECT position INTO STRICT head FROM log_head WHERE id = 1 FOR UPDATE;
    SELECT * INTO known FROM commands c WHERE c.command_id = p_command;
    IF FOUND THEN
        IF known.digest <> p_digest OR known.stream_id <> p_stream THEN
            RAISE EXCEPTION 'command % was used for something else', p_command
                USING ERRCODE = 'TC002';
        END IF;
        first_version := known.first_version;
        last_version := known.last_version;
        last_position := known.last_position;
        replayed := true;
        RETURN;
    END IF;
    SELECT coalesce(max(e.version), 0) INTO current FROM events e WHERE e.stream_id = p_stream;
    IF current <> p_expected THEN
        RAISE EXCEPTION 'stream % is at version %, not %', p_stream, current, p_expected
            USING ERRCODE = 'TC001', DETAIL = current::text;
    END IF;
    INSERT INTO events (position, stream_id, version, event_id, type, schema, data, actor,
                        occurred_at, command_id)
    SELECT head + u.i, p_stream, current + u.i, u.event_id, u.type, u.schema, u.data, u.actor,
           u.occurred_at, p_command
    FROM unnest(p_event_ids, p_types, p_schemas, p_data, p_actors, p_occurred)
         WITH ORDINALITY AS u(event_id, type, schema, data, actor, occurred_at, i);
    UPDATE log_head SET position = head + n WHERE id = 1;
    first_version := current + 1;
    last_version := current + n;
    last_position := head + n;
    replayed := false;
    INSERT INTO commands (command_id, digest, stream_id, first_version, last_version, last_position)
    VALUES (p_command, p_digest, p_stream, first_version, last_version, last_position);
END $$;
REVOKE ALL ON FUNCTION append FROM PUBLIC;
"""

VIEWS_SQL = """
CREATE TABLE projections (
    name text PRIMARY KEY,
    position bigint NOT NULL
);
INSERT INTO projections VALUES ('incidents', 0);
CREATE TABLE incidents (
    incident_id uuid PRIMARY KEY,
    opened_position bigint NOT NULL UNIQUE,
    version integer NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL,
    severity text,
    summary text NOT NULL,
    document text NOT NULL
);
CREATE INDEX incidents_by_state ON incidents (state, opened_position DESC);
CREATE TABLE timeline (
    position bigint PRIMARY KEY,
    incident_id uuid NOT NULL,
    version integer NOT NULL,
    entry text NOT NULL,
    UNIQUE (incident_id, version)
);
"""

# `append` runs as the owner, so the service itself cannot even INSERT behind its back.
GRANTS_SQL = """
GRANT SELECT ON events, commands, log_head TO tocsin_cases;
GRANT EXECUTE ON FUNCTION append TO tocsin_cases;
GRANT SELECT, INSERT, UPDATE ON incident_numbers TO tocsin_cases;
GRANT SELECT, UPDATE ON projections TO tocsin_cases;
GRANT SELECT, INSERT, UPDATE, DELETE ON incidents, timeline TO tocsin_cases;
"""


def upgrade() -> None:
    for sql in (LOG_SQL, APPEND_ONLY_SQL, APPEND_SQL, VIEWS_SQL, GRANTS_SQL):
        run_sql(sql)
