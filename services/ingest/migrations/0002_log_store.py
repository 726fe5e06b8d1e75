"""The log store's manifest, the ledger, saved queries and replays."""

from shared.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("""
    -- The manifest: a file that is not here does not exist for a search, whatever lies on disk.
    CREATE TABLE store_files (
        path text PRIMARY KEY,
        source_id text NOT NULL,
        hour timestamptz NOT NULL,
        rows bigint NOT NULL,
        bytes bigint NOT NULL,
        raw_bytes bigint NOT NULL,
        sha256 text NOT NULL,
        min_time timestamptz NOT NULL,
        max_time timestamptz NOT NULL,
        first_seq bigint NOT NULL,          -- of EVENTS, among the blocks it was made of
        last_seq bigint NOT NULL,
        paths text[] NOT NULL,              -- that have a column of their own
        others text[],                      -- that stand in "rest"; null: too many to name
        stored_at timestamptz NOT NULL,
        removed_at timestamptz,             -- merged or expired; deleted after a while
        checked_at timestamptz,
        problem text
    );
    CREATE INDEX ON store_files (max_time DESC, min_time) WHERE removed_at IS NULL;
    CREATE INDEX ON store_files (source_id, hour) WHERE removed_at IS NULL;
    CREATE INDEX ON store_files (removed_at) WHERE removed_at IS NOT NULL;
    -- One row a block, in the transaction of its files: what comes again is known.
    CREATE TABLE store_blocks (
        id uuid PRIMARY KEY,
        stream_seq bigint NOT NULL,
        events int NOT NULL,                -- 0: it went to the dead letters, or came again
        again boolean NOT NULL DEFAULT false, -- a stored block under another number of the stream
        stored_at timestamptz NOT NULL
    );
    CREATE INDEX ON store_blocks (stream_seq);
    CREATE INDEX ON store_blocks (stored_at);
    CREATE TABLE ledger (
        source_id text PRIMARY KEY,
        accepted bigint NOT NULL DEFAULT 0,
        stored bigint NOT NULL DEFAULT 0,
        evaluated bigint NOT NULL DEFAULT 0,
        changed_at timestamptz NOT NULL
    );
    CREATE TABLE store_retention (
        source_id text PRIMARY KEY CHECK (source_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
        days int NOT NULL CHECK (days BETWEEN 1 AND 3660),
        set_by text NOT NULL,
        set_at timestamptz NOT NULL
    );
    CREATE TABLE saved_queries (
        id uuid PRIMARY KEY,
        name text NOT NULL,
        owner text NOT NULL,
        request text NOT NULL,              -- a search request as JSON, as it was given
        version int NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        UNIQUE (owner, name)
    );
    CREATE TABLE replays (
        id uuid PRIMARY KEY,
        purpose text NOT NULL CHECK (purpose IN ('detect', 'backtest')),
        from_time timestamptz NOT NULL,
        to_time timestamptz NOT NULL,
        query text,
        tenant text,
        requested_by text NOT NULL,
        requested_at timestamptz NOT NULL,
        state text NOT NULL CHECK (state IN
            ('waiting', 'running', 'complete', 'cancelled', 'failed')),
        reason text,
        after text,                         -- cursor: what was published up to here
        events bigint NOT NULL DEFAULT 0,
        blocks bigint NOT NULL DEFAULT 0,
        finished_at timestamptz,
        announced boolean NOT NULL DEFAULT false
    );
    CREATE INDEX ON replays (requested_at DESC, id DESC);
    GRANT SELECT, INSERT, UPDATE, DELETE ON store_files, store_blocks TO tocsin_ingest;
    GRANT SELECT, INSERT, UPDATE, DELETE ON store_retention, saved_queries TO tocsin_ingest;
    GRANT SELECT, INSERT, UPDATE ON ledger, replays TO tocsin_ingest;
    """)
