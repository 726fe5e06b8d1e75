"""The inventory row by row, with the revisions from and to which each row was recorded."""

from shared.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(
        """
        -- A version is a revision of the rows below. Those from before there were rows keep their
        -- document and have no revision; inventory_loads says when they ran.
        ALTER TABLE inventories ALTER COLUMN document DROP NOT NULL;
        ALTER TABLE inventories
            ADD COLUMN revision bigint UNIQUE CHECK (revision > 0),
            ADD COLUMN source text,
            ADD COLUMN recorded_by text,
            ADD COLUMN changes text,
            ADD CHECK ((document IS NULL) = (revision IS NOT NULL));

        -- Recorded in [recorded_from, recorded_to) of revisions; NULL: it still stands. A
        -- correction closes a row and adds another: nothing that was ever known is lost. There are
        -- no foreign keys to the revisions, as a million rows would each look theirs up.
        CREATE TABLE inventory_entries (
            kind text NOT NULL,
            name text NOT NULL,
            document text NOT NULL,
            recorded_from bigint NOT NULL,
            recorded_to bigint CHECK (recorded_to > recorded_from),
            PRIMARY KEY (kind, name, recorded_from)
        );

        -- Valid in [valid_from, valid_to); NULL is unbounded.
        CREATE TABLE inventory_placements (
            tenant text NOT NULL,
            server text NOT NULL,
            role text NOT NULL,
            valid_from timestamptz,
            valid_to timestamptz,
            data text[] NOT NULL,
            tags text,
            recorded_from bigint NOT NULL,
            recorded_to bigint CHECK (recorded_to > recorded_from),
            UNIQUE NULLS NOT DISTINCT (tenant, server, role, valid_from, recorded_from)
        );

        CREATE TABLE inventory_syncs (
            source text PRIMARY KEY,
            next_at timestamptz NOT NULL,
            etag text,
            failures integer NOT NULL DEFAULT 0,
            checked_at timestamptz,
            changed_at timestamptz,
            outcome text CHECK (outcome IN ('changed', 'unchanged', 'refused', 'failed')),
            detail text NOT NULL DEFAULT '{}'
        );

        GRANT SELECT, INSERT ON inventory_entries, inventory_placements TO tocsin_notify;
        GRANT UPDATE (recorded_to) ON inventory_entries, inventory_placements TO tocsin_notify;
        GRANT SELECT, INSERT, UPDATE ON inventory_syncs TO tocsin_notify;
        """
    )
