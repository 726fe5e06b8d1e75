"""Kinds of sources, scopes of keys, logging requirements, and what was measured of each source."""

from shared.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("""
    ALTER TABLE sources
        ADD COLUMN kind text NOT NULL DEFAULT 'other' CHECK (kind IN ('server', 'network',
            'router', 'firewall', 'load_balancer', 'operating_system', 'application', 'identity',
            'other')),
        ADD COLUMN max_silence_seconds int CHECK (max_silence_seconds BETWEEN 60 AND 2678400),
        ADD COLUMN changed_by text,
        ADD COLUMN changed_at timestamptz;
    ALTER TABLE keys
        ADD COLUMN scopes text[] NOT NULL DEFAULT '{}',  -- doors it opens; none named: all
        ADD COLUMN issued_by text,
        ADD COLUMN replaces text REFERENCES keys;
    -- Versions are added and never changed: what was asked of a service when can be told later.
    CREATE TABLE logging_requirements (
        service text NOT NULL CHECK (service ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
        version int NOT NULL CHECK (version >= 1),
        body jsonb NOT NULL,
        set_by text NOT NULL,
        set_at timestamptz NOT NULL,
        PRIMARY KEY (service, version)
    );
    CREATE TABLE source_activity (
        source_id text PRIMARY KEY REFERENCES sources,
        events bigint NOT NULL DEFAULT 0,
        batches bigint NOT NULL DEFAULT 0,
        last_received_at timestamptz NOT NULL,
        newest_event_at timestamptz,        -- as claimed, of the last batch that claimed any
        ahead_events bigint NOT NULL DEFAULT 0,
        ahead_seconds double precision NOT NULL DEFAULT 0,  -- the most
        skew_seconds double precision,      -- newest claimed minus received, of the last batch
        silent_since timestamptz
    );
    -- Per day, so that a percentage is of lately and not of all time.
    CREATE TABLE source_conformance (
        source_id text NOT NULL REFERENCES sources,
        day date NOT NULL,
        service text NOT NULL,
        version int NOT NULL,
        events bigint NOT NULL DEFAULT 0,
        nonconformant bigint NOT NULL DEFAULT 0,
        late bigint NOT NULL DEFAULT 0,
        batches bigint NOT NULL DEFAULT 0,
        nonconformant_batches bigint NOT NULL DEFAULT 0,
        missing jsonb NOT NULL DEFAULT '{}',  -- required field -> events that lacked it
        seen jsonb NOT NULL DEFAULT '{}',     -- required event type -> events of it
        PRIMARY KEY (source_id, day, service, version)
    );
    -- Since sources are registered over the API, the service may add and change them; it can
    -- delete none, and of a key it changes only when it ends.
    GRANT INSERT, UPDATE ON sources TO tocsin_ingest;
    GRANT INSERT, UPDATE (expires_at, revoked_at) ON keys TO tocsin_ingest;
    GRANT SELECT, INSERT ON logging_requirements TO tocsin_ingest;
    GRANT SELECT, INSERT, UPDATE ON source_activity, source_conformance TO tocsin_ingest;
    """)
