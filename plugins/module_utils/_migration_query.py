# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the migration gate asks a live database: structure, sizes and statement texts. No row of a table, no value."""

from __future__ import annotations

from typing import Any

# One query, so that all of it is of one moment. pg_stats is asked for shares only, never for values.
CATALOGUE = """
SELECT json_build_object(
  'version', current_setting('server_version_num')::int / 10000,
  'database', current_database(),
  'timezone', current_setting('TimeZone'),
  'search_path', current_schemas(false),
  'tables', (
    SELECT coalesce(json_agg(json_build_object(
      'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner),
      'rows', c.reltuples::bigint, 'bytes', CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END,
      'row_security', c.relrowsecurity, 'persistence', c.relpersistence,
      'parent', (SELECT pn.nspname || '.' || p.relname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
                 JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = c.oid LIMIT 1),
      'bound', pg_get_expr(c.relpartbound, c.oid),
      'partition_columns', (SELECT array_agg(a.attname::text) FROM pg_partitioned_table t
                 JOIN pg_attribute a ON a.attrelid = t.partrelid AND a.attnum = ANY (t.partattrs::int2[])
                 WHERE t.partrelid = c.oid),
      'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
      'depends', CASE WHEN c.relkind IN ('v', 'm') THEN (
         SELECT json_agg(DISTINCT jsonb_build_array(tn.nspname || '.' || t.relname, coalesce(a.attname, '')))
         FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
           AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
         JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
         LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0
         WHERE r.ev_class = c.oid) END,
      'columns', (
        SELECT json_agg(json_build_object(
          'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
          'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity <> '',
          'generated', a.attgenerated <> '',
          'null_fraction', s.null_frac, 'distinct', s.n_distinct) ORDER BY a.attnum)
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
                            AND NOT s.inherited
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
      'constraints', (
        SELECT json_agg(json_build_object(
          'name', o.conname, 'kind', o.contype, 'definition', pg_get_constraintdef(o.oid), 'valid', o.convalidated,
          'columns', (SELECT array_agg(a.attname::text ORDER BY array_position(o.conkey, a.attnum))
                      FROM pg_attribute a WHERE a.attrelid = o.conrelid AND a.attnum = ANY (o.conkey)),
          'references', (SELECT rn.nspname || '.' || r.relname FROM pg_class r
                         JOIN pg_namespace rn ON rn.oid = r.relnamespace WHERE r.oid = nullif(o.confrelid, 0)),
          'on_delete', o.confdeltype, 'index', (SELECT x.relname FROM pg_class x
                         WHERE x.oid = o.conindid AND o.contype IN ('p', 'u', 'x'))))
        FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype IN ('c', 'f', 'p', 'u', 'x')),
      'indexes', (
        SELECT json_agg(json_build_object(
          'name', x.relname, 'unique', i.indisunique, 'valid', i.indisvalid,
          'plain', i.indpred IS NULL AND i.indexprs IS NULL, 'scans', u.idx_scan,
          'columns', (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(i.indkey::int2[])
                      WITH ORDINALITY k(number, place) JOIN pg_attribute a ON a.attrelid = c.oid
                      AND a.attnum = k.number WHERE k.place <= i.indnkeyatts)))
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        LEFT JOIN pg_stat_user_indexes u ON u.indexrelid = i.indexrelid WHERE i.indrelid = c.oid),
      'triggers', (
        SELECT json_agg(json_build_object('name', t.tgname, 'enabled', t.tgenabled <> 'D', 'function', p.proname,
          'events', array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' END,
             CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,
             CASE WHEN t.tgtype & 32 <> 0 THEN 'truncate' END], NULL)))
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
      'grants', (
        SELECT json_agg(json_build_array(coalesce(g.rolname, 'public'), lower(a.privilege_type)))
        FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
        LEFT JOIN pg_roles g ON g.oid = a.grantee))), '[]')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                      AND e.deptype = 'e')),
  'sequences', (
    SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname,
      'type', (SELECT format_type(q.seqtypid, NULL) FROM pg_sequence q WHERE q.seqrelid = c.oid),
      'owned_by', (SELECT tn.nspname || '.' || t.relname || '.' || a.attname FROM pg_depend d
         JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') LIMIT 1),
      'grants', (SELECT json_agg(json_build_array(coalesce(g.rolname, 'public'), lower(a.privilege_type)))
         FROM aclexplode(coalesce(c.relacl, acldefault('s', c.relowner))) a
         LEFT JOIN pg_roles g ON g.oid = a.grantee))), '[]')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND n.nspname !~ '^pg_'),
  'functions', (
    SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', p.proname, 'volatility', p.provolatile,
      'source', CASE WHEN l.lanname IN ('sql', 'plpgsql')
                     THEN coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) END)), '[]')
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')),
  'volatile', (SELECT array_agg(DISTINCT p.proname::text) FROM pg_proc p
               WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.provolatile = 'v'),
  'enums', (
    SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', t.typname,
      'values', (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e
                 WHERE e.enumtypid = t.oid))), '[]')
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'e'),
  'domains', (SELECT coalesce(json_agg(t.typname), '[]') FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
              WHERE t.typtype = 'd' AND n.nspname <> 'information_schema'),
  'schemas', (SELECT json_agg(n.nspname) FROM pg_namespace n WHERE n.nspname !~ '^pg_'),
  'default_grants', (
    SELECT coalesce(json_agg(json_build_array(pg_get_userbyid(d.defaclrole), d.defaclobjtype, g.rolname,
                                              lower(a.privilege_type))), '[]')
    FROM pg_default_acl d CROSS JOIN LATERAL aclexplode(d.defaclacl) a JOIN pg_roles g ON g.oid = a.grantee),
  'memberships', (
    SELECT coalesce(json_agg(json_build_array(u.rolname, g.rolname)), '[]')
    FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member JOIN pg_roles g ON g.oid = m.roleid)
)::text
"""
# Before PostgreSQL 14 a function has no body that is parsed.
_OLD_BODY = ("coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)", "p.prosrc")

# Normalised texts of the app's own logins only; $1 stands where a value was.
STATEMENTS = """
SELECT DISTINCT s.query FROM pg_stat_statements s
JOIN pg_roles r ON r.oid = s.userid
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND r.rolname = ANY (%s::text[])
ORDER BY 1
"""
OBSERVED = """
SELECT extract(epoch FROM now() - stats_reset)::bigint, dealloc FROM pg_stat_statements_info
"""
HAS_STATEMENTS = "SELECT to_regclass('pg_stat_statements_info') IS NOT NULL"
# Settings of all roles and databases first, those of just this role in this database last.
ROLE_SETTINGS = """
SELECT s.setconfig FROM pg_db_role_setting s
WHERE s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = %s))
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = %s))
ORDER BY (s.setrole <> 0)::int * 2 + (s.setdatabase <> 0)::int
"""
REVISION_TABLE = "SELECT to_regclass('alembic_version') IS NOT NULL"
REVISION = "SELECT version_num::text FROM alembic_version"


def catalogue_query(version: int) -> str:
    """The query that a server of this major version understands."""
    return CATALOGUE if version >= 14 else CATALOGUE.replace(*_OLD_BODY)


def is_own_statement(query: Any) -> bool:
    """Whether a text is one of the app's statements, not transaction control or the gate's own."""
    text = str(query).lstrip().lower()
    return text.startswith(("select", "insert", "update", "delete", "with", "merge", "call", "copy", "values", "table"))
