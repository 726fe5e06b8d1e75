"""What is known of incidents for routing, and what a chain of pages asks for."""

from shared.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("""
    ALTER TABLE incidents
        ADD COLUMN facts text NOT NULL DEFAULT '{}',     -- JSON: legal_hold, shortest_regime, ...
        ADD COLUMN over boolean NOT NULL DEFAULT false;  -- dismissed, closed or merged

    -- severity, case or source; '' only to answer; null: written by a release before this one.
    ALTER TABLE page_chains ADD COLUMN asks text;

    -- Whom routing names later, when more is known, joins the escalation (P3).
    GRANT UPDATE (engaged_teams, routing_rules) ON escalations TO tocsin_escalate;
    """)
