"""The one condition under which a person sees an incident, as SQL over the views."""

__all__ = ["VISIBLE"]

# For a query in which `incidents` is named i and the bind parameter :person is who asks. Every
# query that lists, searches or counts incidents holds it, so that none tells of what is hidden.
VISIBLE = """(NOT i.restricted OR EXISTS (
    SELECT 1 FROM incident_access a WHERE a.incident_id = i.incident_id AND a.person = :person
      AND (a.until IS NULL OR a.until > now())))"""
