"""Inventory versions, scopes, affected lists, obligations, notifications and their ledger."""

from shared.migrate import run_sql
from shared.outbox import MESSAGING_SQL

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(MESSAGING_SQL)
    run_sql(
        """
        -- JSON is kept as text: free text of an incident may hold \\u0000, which jsonb refuses.

        CREATE TABLE inventories (
            version text PRIMARY KEY,
            document text NOT NULL,
            imported_at timestamptz NOT NULL
        );

        -- Which version ran since when; a file that went back to an old version is a new load.
        CREATE TABLE inventory_loads (
            position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            version text NOT NULL REFERENCES inventories,
            loaded_at timestamptz NOT NULL
        );

        CREATE TABLE incidents (
            incident_id uuid PRIMARY KEY,
            number text NOT NULL,
            state text NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'confirmed', 'dismissed')),
            facts text NOT NULL
        );

        CREATE TABLE scopes (
            incident_id uuid NOT NULL REFERENCES incidents,
            scope_version integer NOT NULL,
            scope text NOT NULL,
            set_by text NOT NULL,
            as_of timestamptz NOT NULL,
            PRIMARY KEY (incident_id, scope_version)
        );

        CREATE TABLE affected_lists (
            list_id uuid PRIMARY KEY,
            incident_id uuid NOT NULL REFERENCES incidents,
            version integer NOT NULL,
            scope_version integer NOT NULL,
            inventory_version text NOT NULL REFERENCES inventories,
            state text NOT NULL CHECK (state IN ('compiled', 'approved', 'superseded')),
            compiled_by text NOT NULL,
            compiled_at timestamptz NOT NULL,
            approved_by text,
            approved_at timestamptz,
            notified_at timestamptz,
            confirmed integer NOT NULL,
            probable integer NOT NULL,
            possible integer NOT NULL,
            warnings text NOT NULL,
            UNIQUE (incident_id, version),
            UNIQUE (incident_id, scope_version),
            -- R36a: two people sign. The rule stands in the API; this is its last line.
            CHECK (approved_by IS DISTINCT FROM compiled_by)
        );

        CREATE TABLE affected_tenants (
            list_id uuid NOT NULL REFERENCES affected_lists,
            tenant text NOT NULL,
            change text NOT NULL CHECK (change IN ('added', 'unchanged', 'removed')),
            confidence text,
            explanation text NOT NULL,
            PRIMARY KEY (list_id, tenant)
        );

        CREATE TABLE notices (
            incident_id uuid NOT NULL REFERENCES incidents,
            version integer NOT NULL,
            author text NOT NULL,
            fields text NOT NULL,
            written_at timestamptz NOT NULL,
            PRIMARY KEY (incident_id, version)
        );

        -- A revision never changes (§4.1: recompute and keep history); the newest one counts.
        CREATE TABLE obligations (
            obligation_id uuid NOT NULL,
            revision integer NOT NULL,
            incident_id uuid NOT NULL REFERENCES incidents,
            regime text NOT NULL,
            tenant text,
            state text NOT NULL CHECK (state IN ('undecided', 'triggered', 'not_required')),
            due_at timestamptz NOT NULL,
            detail text NOT NULL,
            digest text NOT NULL,
            computed_at timestamptz NOT NULL,
            PRIMARY KEY (obligation_id, revision)
        );
        CREATE INDEX obligations_incident ON obligations (incident_id);

        CREATE TABLE notifications (
            notification_id uuid PRIMARY KEY,
            list_id uuid NOT NULL REFERENCES affected_lists,
            incident_id uuid NOT NULL REFERENCES incidents,
            tenant text NOT NULL,
            channel text NOT NULL CHECK (channel IN ('email', 'webhook')),
            recipients text NOT NULL,
            content text NOT NULL,
            template_digest text NOT NULL,
            created_at timestamptz NOT NULL,
            state text NOT NULL DEFAULT 'pending'
                CHECK (state IN ('pending', 'sending', 'sent', 'failed')),
            next_attempt_at timestamptz NOT NULL,
            lease_until timestamptz,
            fence bigint NOT NULL DEFAULT 0,
            attempt integer NOT NULL DEFAULT 0,
            accepted text NOT NULL DEFAULT '{}',
            sent_at timestamptz,
            proof text,
            last_error text,
            UNIQUE (list_id, tenant, channel)
        ) WITH (fillfactor = 80);
        CREATE INDEX notifications_due ON notifications (next_attempt_at)
            WHERE state IN ('pending', 'sending');
        CREATE INDEX notifications_open ON notifications (incident_id)
            WHERE state IN ('pending', 'sending');
        CREATE INDEX notifications_incident ON notifications (incident_id, tenant, channel);

        -- One row an attempt, with what the other side said; an unfinished one was cut off.
        CREATE TABLE attempts (
            notification_id uuid NOT NULL REFERENCES notifications,
            fence bigint NOT NULL,
            attempt integer NOT NULL,
            started_at timestamptz NOT NULL,
            finished_at timestamptz,
            outcome text CHECK (outcome IN ('sent', 'retry', 'failed', 'overtaken')),
            answer text,
            recipients text NOT NULL DEFAULT '{}',
            PRIMARY KEY (notification_id, fence)
        );

        GRANT SELECT, INSERT ON inbox TO tocsin_notify;
        GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO tocsin_notify;
        GRANT SELECT, INSERT ON inventories, inventory_loads, scopes, affected_tenants, notices,
            obligations TO tocsin_notify;
        GRANT SELECT, INSERT ON incidents, affected_lists, notifications, attempts
            TO tocsin_notify;
        GRANT UPDATE (number, state, facts) ON incidents TO tocsin_notify;
        GRANT UPDATE (state, approved_by, approved_at, notified_at) ON affected_lists
            TO tocsin_notify;
        GRANT UPDATE (state, next_attempt_at, lease_until, fence, attempt, accepted, sent_at,
            proof, last_error) ON notifications TO tocsin_notify;
        GRANT UPDATE (finished_at, outcome, answer, recipients) ON attempts TO tocsin_notify;
        """
    )
