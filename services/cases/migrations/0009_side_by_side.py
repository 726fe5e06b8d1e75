"""A second set of views beside the live one, made from the log and put in its place at once.

The set lives in a schema of its own while a rebuild runs; the tables there have the names of the
live ones, and so have their indexes once they are built, so that migrations find what they know.
Only the tables in `projected_views` are ever touched: a migration that adds a view adds its name.
"""

from shared.migrate import run_sql

revision = "0009"
down_revision = "0008"

TABLES_SQL = """
CREATE SCHEMA cases_next;
CREATE TABLE projected_views (name text PRIMARY KEY);
INSERT INTO projected_views VALUES ('incidents'), ('timeline'), ('incident_access'),
    ('incident_indicators'), ('splits'), ('evidence'), ('custody'), ('reviews'),
    ('improvement_items');
INSERT INTO projections VALUES ('next', 0);
"""

BEGIN_SQL = """
CREATE FUNCTION next_views_drop() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp AS $$
DECLARE v text;
BEGIN
    FOR v IN SELECT name FROM projected_views ORDER BY name LOOP
        EXECUTE format('DROP TABLE IF EXISTS cases_next.%I', v);
    END LOOP;
END $$;

-- Empty tables without indexes: filling them is faster so. Whoever may use a live one may use it.
CREATE FUNCTION next_views_begin() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp AS $$
DECLARE
    v record;
    g record;
BEGIN
    PERFORM next_views_drop();
    FOR v IN SELECT p.name, c.relacl, c.relowner FROM projected_views p
             JOIN pg_class c ON c.relname = p.name AND c.relnamespace = 'cases'::regnamespace
             ORDER BY p.name
    LOOP
        EXECUTE format(
            'CREATE TABLE cases_next.%I (LIKE cases.%I INCLUDING ALL EXCLUDING INDEXES)',
            v.name, v.name);
        FOR g IN SELECT a.privilege_type,
                        CASE WHEN a.grantee = 0 THEN 'PUBLIC'
                             ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
                 FROM aclexplode(v.relacl) a WHERE a.grantee <> v.relowner
        LOOP
            EXECUTE format('GRANT %s ON cases_next.%I TO %s', g.privilege_type, v.name, g.grantee);
        END LOOP;
    END LOOP;
END $$;
"""

INDEX_SQL = """
CREATE FUNCTION next_views_index() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp AS $$
DECLARE i record;
BEGIN
    FOR i IN SELECT c.relname AS view, x.relname AS name, pg_get_indexdef(x.oid) AS definition,
                    k.conname, k.contype
             FROM projected_views p
             JOIN pg_class c ON c.relname = p.name AND c.relnamespace = 'cases'::regnamespace
             JOIN pg_index d ON d.indrelid = c.oid
             JOIN pg_class x ON x.oid = d.indexrelid
             LEFT JOIN pg_constraint k ON k.conindid = x.oid AND k.contype IN ('p', 'u')
             ORDER BY c.relname, x.relname
    LOOP
        EXECUTE replace(i.definition, format(' ON cases.%I ', i.view),
                        format(' ON cases_next.%I ', i.view));
        IF i.contype IS NOT NULL THEN
            EXECUTE format('ALTER TABLE cases_next.%I ADD CONSTRAINT %I %s USING INDEX %I',
                           i.view, i.conname,
                           CASE i.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, i.name);
        END IF;
    END LOOP;
    FOR i IN SELECT name FROM projected_views ORDER BY name LOOP
        EXECUTE format('ANALYZE cases_next.%I', i.name);
    END LOOP;
END $$;
"""

# Readers wait for some milliseconds. All locks are taken at once and not waited for any longer
# than PostgreSQL waits before it looks for a deadlock, so it is never a reader who has to give way.
SWAP_SQL = """
CREATE FUNCTION next_views_swap() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = cases, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE v text;
BEGIN
    EXECUTE (SELECT 'LOCK TABLE ' || string_agg(format('cases.%I', name), ', ' ORDER BY name)
                    || ' IN ACCESS EXCLUSIVE MODE' FROM projected_views);
    FOR v IN SELECT name FROM projected_views ORDER BY name LOOP
        EXECUTE format('DROP TABLE cases.%I', v);
        EXECUTE format('ALTER TABLE cases_next.%I SET SCHEMA cases', v);
    END LOOP;
END $$;
"""

GRANTS_SQL = """
REVOKE ALL ON FUNCTION next_views_drop, next_views_begin, next_views_index, next_views_swap
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION next_views_drop, next_views_begin, next_views_index, next_views_swap
    TO tocsin_cases;
GRANT USAGE ON SCHEMA cases_next TO tocsin_cases;
GRANT SELECT ON projected_views TO tocsin_cases;
"""


def upgrade() -> None:
    for sql in (TABLES_SQL, BEGIN_SQL, INDEX_SQL, SWAP_SQL, GRANTS_SQL):
        run_sql(sql)
