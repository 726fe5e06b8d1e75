"""What triage forgets in time: when a group was last written to, and the grants to delete."""

from shared.migrate import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql("""
    -- Event times tell nothing here: what is looked into today may be of last year.
    ALTER TABLE detection_groups ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
    CREATE INDEX ON detection_groups (changed_at) WHERE merged_into IS NULL;
    CREATE INDEX ON entity_risk (risk_at);
    CREATE INDEX ON inbox (received_at) WHERE consumer = 'escalate-detections';
    GRANT DELETE ON detection_groups, detections, entity_risk, triage_suppressions, inbox
        TO tocsin_escalate;
    """)
