"""Corrections, communication holds, nobody affected, bounces, acknowledgements."""

from shared.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(
        """
        ALTER TABLE incidents DROP CONSTRAINT incidents_state_check;
        ALTER TABLE incidents ADD CONSTRAINT incidents_state_check
            CHECK (state IN ('open', 'confirmed', 'dismissed', 'retracted', 'merged'));
        ALTER TABLE incidents ADD COLUMN held boolean NOT NULL DEFAULT false;
        CREATE INDEX incidents_held ON incidents (incident_id) WHERE held;

        -- One row a hold; lifting it is the only thing that may be added to it.
        CREATE TABLE communication_holds (
            incident_id uuid NOT NULL REFERENCES incidents,
            number integer NOT NULL,
            reason text NOT NULL,
            authority text NOT NULL,
            placed_by text NOT NULL,
            placed_at timestamptz NOT NULL,
            lifted_by text,
            lifted_at timestamptz,
            lift_reason text,
            PRIMARY KEY (incident_id, number)
        );

        -- R34: that nobody is affected is a decision of its own, with its reason.
        ALTER TABLE affected_lists ADD COLUMN nobody_reason text;
        ALTER TABLE affected_lists DROP CONSTRAINT affected_lists_incident_id_scope_version_key;
        CREATE UNIQUE INDEX affected_lists_of_scope ON affected_lists (incident_id, scope_version)
            WHERE nobody_reason IS NULL;

        CREATE TABLE corrections (
            correction_id uuid PRIMARY KEY,
            incident_id uuid NOT NULL REFERENCES incidents,
            number integer NOT NULL,
            why text NOT NULL CHECK (why IN ('not_affected', 'no_incident', 'content', 'merged')),
            statement text NOT NULL,
            written_by text NOT NULL,
            written_at timestamptz NOT NULL,
            approved_by text,
            approved_at timestamptz,
            UNIQUE (incident_id, number),
            CHECK (approved_by IS DISTINCT FROM written_by)
        );

        ALTER TABLE notifications DROP CONSTRAINT notifications_list_id_tenant_channel_key;
        ALTER TABLE notifications DROP CONSTRAINT notifications_state_check;
        ALTER TABLE notifications ADD CONSTRAINT notifications_state_check
            CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'withdrawn', 'bounced'));
        ALTER TABLE notifications
            ADD COLUMN kind text NOT NULL DEFAULT 'notice' CHECK (kind IN ('notice', 'correction')),
            ADD COLUMN why text,
            ADD COLUMN supersedes uuid REFERENCES notifications,
            ADD COLUMN instead_of uuid REFERENCES notifications,
            ADD CHECK ((kind = 'correction') = (supersedes IS NOT NULL AND why IS NOT NULL));
        CREATE INDEX notifications_tenant ON notifications (tenant, created_at);

        -- A mail that was taken and came back (RFC 3464), once for each recipient.
        CREATE TABLE bounces (
            notification_id uuid NOT NULL REFERENCES notifications,
            recipient text NOT NULL,
            action text NOT NULL,
            status text NOT NULL,
            diagnostic text NOT NULL,
            received_at timestamptz NOT NULL,
            PRIMARY KEY (notification_id, recipient, action)
        );

        CREATE TABLE acknowledgements (
            notification_id uuid PRIMARY KEY REFERENCES notifications,
            tenant text NOT NULL,
            acknowledged_by text NOT NULL,
            acknowledged_at timestamptz NOT NULL
        );

        GRANT UPDATE (nobody_reason) ON affected_lists TO tocsin_notify;
        GRANT UPDATE (held) ON incidents TO tocsin_notify;
        GRANT SELECT, INSERT ON communication_holds, corrections, bounces, acknowledgements
            TO tocsin_notify;
        GRANT UPDATE (lifted_by, lifted_at, lift_reason) ON communication_holds TO tocsin_notify;
        GRANT UPDATE (approved_by, approved_at) ON corrections TO tocsin_notify;
        """
    )
