"""Log sources and their keys."""

from shared.migrate import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("""
    CREATE TABLE sources (
        id text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
        tenant text,
        region text,
        datacenter text,
        service text,
        server text,
        product text,
        category text,
        logsource_service text,
        created_at timestamptz NOT NULL,
        disabled_at timestamptz
    );
    CREATE TABLE keys (
        id text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{1,32}$'),
        source_id text NOT NULL REFERENCES sources,
        hash bytea NOT NULL,
        created_at timestamptz NOT NULL,
        expires_at timestamptz,
        revoked_at timestamptz
    );
    CREATE INDEX ON keys (source_id);
    -- The front door only looks keys up; they are made by `tocsin sources` with the admin's role.
    GRANT SELECT ON sources, keys TO tocsin_ingest;
    """)
