# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The migration gate's port to the live database: reads in a read-only transaction, as roles that cannot write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_query as query
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import QUIET_OPTIONS, Connect

# The session's own statements stay out of the server's log and statistics, and cannot write.
READ_ONLY = f"{QUIET_OPTIONS} -c default_transaction_read_only=on"
# Predefined roles: one reads tables and views, the other statistics. Neither may write.
_READS_TABLES, _READS_STATISTICS = "pg_read_all_data", "pg_read_all_stats"


class ContextReader:
    """Reads what the gate has to know of one database."""

    def __init__(self, connect: Connect, database: str) -> None:
        self._connect, self._database = connect, database

    def read(self, owner: str, logins: Sequence[str]) -> dict[str, Any]:
        """Catalogue, live revisions and settings of the owner, and the statements of the app's logins."""
        connection = self._connect(self._database)
        try:
            cursor = connection.cursor()
            version = int(_one(cursor, "SELECT current_setting('server_version_num')::int / 10000"))
            _become(cursor, _READS_TABLES, version >= 14)
            catalogue = json.loads(_one(cursor, query.catalogue_query(version)))
            live = _revisions(cursor)
            cursor.execute("SET LOCAL ROLE NONE")
            _become(cursor, _READS_STATISTICS, True)
            settings = _settings(cursor, owner, self._database)
            catalogue["timezone"] = settings.pop("timezone", catalogue["timezone"])
            return {"catalogue": catalogue, "live": live, "settings": settings, **_statements(cursor, logins)}
        finally:
            connection.rollback()
            connection.close()


def _become(cursor: Any, role: str, there: bool) -> None:
    if there:
        cursor.execute(f"SET LOCAL ROLE {role}")


def _one(cursor: Any, text: str) -> Any:
    cursor.execute(text)
    return cursor.fetchone()[0]


def _revisions(cursor: Any) -> list[str]:
    if not _one(cursor, query.REVISION_TABLE):
        return []
    cursor.execute(query.REVISION)
    return sorted(str(row[0]) for row in cursor.fetchall())


def _settings(cursor: Any, owner: str, database: str) -> dict[str, str]:
    """What the owner's sessions get from its role and database, by lower-case name; of several the closer one."""
    cursor.execute(query.ROLE_SETTINGS, (owner, database))
    found: dict[str, str] = {}
    for (pairs,) in cursor.fetchall():
        for pair in pairs:
            name, _, value = pair.partition("=")
            if name.lower() in ("timezone", "lock_timeout", "statement_timeout"):
                found[name.lower()] = value
    return found


def _statements(cursor: Any, logins: Sequence[str]) -> dict[str, Any]:
    if not _one(cursor, query.HAS_STATEMENTS):
        return {"statements": None, "observed_seconds": None, "forgotten": None}
    cursor.execute(query.STATEMENTS, (list(logins),))
    texts = [row[0] for row in cursor.fetchall() if row[0] and query.is_own_statement(row[0])]
    cursor.execute(query.OBSERVED)
    seconds, forgotten = cursor.fetchone()
    return {"statements": texts, "observed_seconds": int(seconds or 0), "forgotten": int(forgotten)}
