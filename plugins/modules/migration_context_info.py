#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_context_info
short_description: Read from a live database what M(signalbox.platform.migration_gate) has to know
description:
  - Reads the catalogue (tables, columns, constraints, indexes, views, triggers, functions, sequences, grants, sizes),
    the revision that Alembic has noted, and the statements that the app's own logins ran, from C(pg_stat_statements).
  - Statements are normalised, with C($1) where a value was. No row of a table leaves the database but the revision, and
    of the planner's statistics only the share of NULL.
  - Reads in one read-only transaction, as the predefined roles C(pg_read_all_data) and C(pg_read_all_stats), which
    cannot write.
version_added: "0.1.0"
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Never changes anything.
options:
  database:
    description: Name of the database.
    type: str
    required: true
  owner:
    description: Role that migrations run as; its own settings of time zone and timeouts count.
    type: str
    required: true
  logins:
    description: Logins of the app, whose statements are those of the serving release.
    type: list
    elements: str
    required: true
  socket_directory:
    description: Directory of the server's socket.
    type: path
    default: /run/postgresql
  port:
    description: Port number that is part of the socket's name.
    type: int
    default: 5432
requirements:
  - psycopg2
  - PostgreSQL 14 or newer; an older server is read as its own user, in a read-only transaction
seealso:
  - module: signalbox.platform.migration_gate
"""

EXAMPLES = r"""
- name: Read what the migration will meet
  signalbox.platform.migration_context_info:
    database: agent_api
    owner: agent_api_owner
    logins: [agent_api_blue, agent_api_green]
  become: true
  register: observed
"""

RETURN = r"""
context:
  description: For O(signalbox.platform.migration_gate#module:context).
  returned: success
  type: dict
  contains:
    catalogue: {description: The structure of the database., type: dict}
    live: {description: Revisions that the database is at; empty before the first., type: list}
    settings: {description: "C(lock_timeout) and C(statement_timeout) of the owner's sessions.", type: dict}
    statements: {description: "Texts of statements; null without C(pg_stat_statements).", type: list}
    observed_seconds: {description: How long statements have been counted., type: int}
    forgotten: {description: How many statements were forgotten because there were too many., type: int}
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._migration_context import READ_ONLY, ContextReader
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import connector

try:
    import psycopg2
except ImportError:
    psycopg2 = None
    PSYCOPG2_ERROR = traceback.format_exc()


def main():
    module = AnsibleModule(
        argument_spec={
            "database": {"type": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "logins": {"type": "list", "elements": "str", "required": True},
            "socket_directory": {"type": "path", "default": "/run/postgresql"},
            "port": {"type": "int", "default": 5432},
        },
        supports_check_mode=True,
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=PSYCOPG2_ERROR)
    wanted = module.params
    try:
        connect = connector(psycopg2, wanted["socket_directory"], wanted["port"], options=READ_ONLY)
        context = ContextReader(connect, wanted["database"]).read(wanted["owner"], wanted["logins"])
    except (psycopg2.Error, KeyError) as error:
        module.fail_json(msg=f"the database {wanted['database']} could not be read: {error}".strip())
    module.exit_json(changed=False, context=context)


if __name__ == "__main__":
    main()
