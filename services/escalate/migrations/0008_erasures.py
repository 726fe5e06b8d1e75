"""Erasures: what was copied of an incident that has ended may be blotted out (I10)."""

from shared.migrate import run_sql

revision = "0008"
down_revision = "0007"

# Bytes lie under their digest; another case that has the same file keeps it.
CASE_SQL = """
CREATE FUNCTION erase_support_case(p_incident uuid, p_whole boolean, p_patterns text[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = escalate, pg_temp AS $$
DECLARE
    the_case uuid;
    reporter text;
BEGIN
    SELECT id, opened_by INTO the_case, reporter FROM support_cases
    WHERE incident_id = p_incident FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_whole THEN
        DELETE FROM attachments a USING support_case_events e
        WHERE e.case_id = the_case AND e.kind = 'attached'
          AND a.digest = e.data::jsonb ->> 'digest'
          AND NOT EXISTS (SELECT FROM support_case_events o WHERE o.case_id <> the_case
              AND o.kind = 'attached' AND o.data::jsonb ->> 'digest' = a.digest);
        UPDATE support_case_events SET data = (data::jsonb || '{"name": "[erased]"}')::text
        WHERE case_id = the_case AND kind = 'attached';
    END IF;
    UPDATE support_case_events SET text = '[erased]' WHERE case_id = the_case AND text <> ''
        AND (p_whole OR lower(text) LIKE ANY(p_patterns));
    UPDATE support_case_events SET actor = '[erased]'
    WHERE case_id = the_case AND actor = reporter;
    UPDATE support_cases SET opened_by = '[erased]', request_digest = '[erased]',
        title = CASE WHEN p_whole OR lower(title) LIKE ANY(p_patterns) THEN '[erased]'
                     ELSE title END,
        statement = CASE WHEN p_whole OR lower(statement) LIKE ANY(p_patterns) THEN '[erased]'
                         ELSE statement END
    WHERE id = the_case;
END $$;
REVOKE ALL ON FUNCTION erase_support_case FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_support_case TO tocsin_escalate;
"""

GRANTS_SQL = """
GRANT UPDATE (body) ON detections TO tocsin_escalate;
GRANT DELETE ON entity_risk TO tocsin_escalate;
GRANT UPDATE (value, reason) ON triage_suppressions TO tocsin_escalate;
GRANT UPDATE (reason) ON page_chains, pages TO tocsin_escalate;
"""


def upgrade() -> None:
    for sql in (CASE_SQL, GRANTS_SQL):
        run_sql(sql)
