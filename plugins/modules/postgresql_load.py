#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_load
short_description: Put a masked copy of another platform's database in the place of a database
description:
  - With O(operation=load) an archive that the module M(signalbox.platform.backup) wrote with C(operation=masked) is
    loaded, as the database's owner, into C(<database>_new), and its rows are counted. The database serves meanwhile.
  - O(operation=exchange) lets the two change names in one transaction. Sessions of both end; new ones wait for it. What
    served until then stays as C(<database>_old) until the next time.
  - O(operation=undo) lets the database and C(<database>_old) change places again.
  - Refuses an archive that was not masked, one of another database, and the server that the copy was taken of. A
    database C(<database>_new) or C(<database>_old) is only touched where its comment says that this module made it.
  - Rights of the group roles are not in the copy; M(signalbox.platform.postgresql_layout) grants them.
requirements: [python3-psycopg2]
version_added: "0.1.0"
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Checks the archive, the server and the names, and changes nothing.
  diff_mode:
    support: none
    description: Rows are not shown.
options:
  operation:
    description: What to do.
    type: str
    choices: [load, exchange, undo]
    default: load
  path:
    description: The archive on the host, readable by O(user). Required with O(operation=load).
    type: path
  database:
    description: Database whose place it takes.
    type: str
    required: true
  socket_directory:
    description: Directory of the server's socket.
    type: path
    default: /run/postgresql
  port:
    description: Port number that is part of the socket's name.
    type: int
    default: 5432
  user:
    description: Superuser to act as, who is also a user of the operating system.
    type: str
    default: postgres
"""

EXAMPLES = r"""
- name: Load the copy
  signalbox.platform.postgresql_load:
    path: /var/lib/postgresql/agent_api.masked
    database: agent_api

- name: Put it in the database's place
  signalbox.platform.postgresql_load:
    operation: exchange
    database: agent_api
"""

RETURN = r"""
rows:
  description: Rows of each table.
  returned: operation load, not in check mode
  type: dict
lines:
  description: What was done, for people.
  returned: success, not in check mode
  type: list
  elements: str
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import connector
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_load import Load, Refused
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_server import query

try:
    import psycopg2
except ImportError:
    psycopg2 = None
    PSYCOPG2_ERROR = traceback.format_exc()
else:
    PSYCOPG2_ERROR = None


def loading(module):
    parameters = module.params
    connect = connector(psycopg2, parameters["socket_directory"], parameters["port"], user=parameters["user"])

    def run(command):
        whole = ["runuser", "-u", parameters["user"], "--", *command]
        return module.run_command(whole, cwd="/", environ_update={"LC_ALL": "C.UTF-8"})

    binaries = query(connect, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")[0][0]
    return Load(connect, run, binaries, parameters["socket_directory"], parameters["port"])


def load(module, work):
    path, database = module.params["path"], module.params["database"]
    origin = work.origin(path)
    work.check(origin, database)
    if module.check_mode:
        return {}
    rows = work.load(path, origin, database)
    told = f"a masked copy of {origin['backup']}, {origin['target']}, is loaded: {sum(rows.values()):,} rows"
    return {"rows": rows, "lines": [told]}


def exchange(module, work):
    database = module.params["database"]
    if module.check_mode:
        work.check_names(database)
        return {}
    work.exchange(database)
    former = f'what {database} was is the database {database}_old; when it has served: DROP DATABASE "{database}_old"'
    return {"lines": [f"{database} is the masked copy", former]}


def undo(module, work):
    database = module.params["database"]
    if module.check_mode:
        work.check_names(database)
        return {}
    work.undo(database)
    return {"lines": [f"{database} is what it was before; what it was until now is the database {database}_old"]}


OPERATIONS = {"load": load, "exchange": exchange, "undo": undo}


def main():
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": list(OPERATIONS), "default": "load"},
            "path": {"type": "path"},
            "database": {"type": "str", "required": True},
            "socket_directory": {"type": "path", "default": "/run/postgresql"},
            "port": {"type": "int", "default": 5432},
            "user": {"type": "str", "default": "postgres"},
        },
        required_if=[("operation", "load", ["path"])],
        supports_check_mode=True,
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=PSYCOPG2_ERROR)
    try:
        done = OPERATIONS[module.params["operation"]](module, loading(module))
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    except psycopg2.Error as error:
        module.fail_json(msg=f"PostgreSQL: {error.diag.message_primary or str(error).strip().splitlines()[0]}")
    module.exit_json(changed=True, **done)


if __name__ == "__main__":
    main()
