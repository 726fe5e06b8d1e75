"""Answers to pages: severities by link, requests of chats, what other tools are told afterwards."""

from shared.migrate import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql("""
    ALTER TABLE pages
        ADD COLUMN severity_used_at timestamptz,  -- its link for the severity works once
        ADD COLUMN followed text,                 -- what PagerDuty was told: acknowledge, resolve
        ADD COLUMN follow_attempts int NOT NULL DEFAULT 0,
        ADD COLUMN follow_next timestamptz;
    -- Of pages from before nobody is told anything any more.
    UPDATE pages SET followed = 'resolve' WHERE channel = 'pagerduty';
    CREATE INDEX ON pages (sent_at) WHERE channel = 'pagerduty' AND sent_at IS NOT NULL
        AND followed IS DISTINCT FROM 'resolve';

    -- When what a chain asked for was settled, answered or not.
    ALTER TABLE page_chains ADD COLUMN settled_at timestamptz;

    -- Requests of a chat by the SHA-256 of their signature: none has its effect twice.
    CREATE TABLE chat_requests (
        digest text PRIMARY KEY,
        at timestamptz NOT NULL
    );
    CREATE INDEX ON chat_requests (at);

    GRANT UPDATE (severity_used_at, followed, follow_attempts, follow_next) ON pages
        TO tocsin_escalate;
    GRANT UPDATE (settled_at) ON page_chains TO tocsin_escalate;
    GRANT SELECT, INSERT, DELETE ON chat_requests TO tocsin_escalate;
    """)
