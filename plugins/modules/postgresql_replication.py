#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_replication
short_description: The login by which standbys replicate, and no slots but theirs
description:
  - On a primary. The login may replicate, and read files of the data directory as C(pg_rewind) does; it has no right in
    any database.
  - Each standby makes its own slot. A slot of this platform that belongs to none of O(slots) is dropped, for it keeps
    WAL for nobody.
requirements: [python3-psycopg2]
version_added: "0.1.0"
options:
  name:
    description: Name of the login.
    type: str
    required: true
  password:
    description: Its password, kept and sent as a SCRAM-SHA-256 verifier.
    type: str
    required: true
  slots:
    description: Names of the slots that belong to a standby.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Tells what would be done.
  diff_mode:
    support: none
    description: There is nothing to compare that may be shown.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Let the standby replicate
  signalbox.platform.postgresql_replication:
    name: signalbox_replication
    password: "{{ password }}"
    slots: [signalbox_data2]
  no_log: true
"""

RETURN = r"""
actions:
  description: What was done, or would be. Names only.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import connector
from ansible_collections.signalbox.platform.plugins.module_utils._scram import make_verifier, password_matches

try:
    import psycopg2
except ImportError:
    psycopg2 = None

# What pg_rewind's manual wants of a login that is no superuser.
FUNCTIONS = (
    "pg_catalog.pg_ls_dir(text, boolean, boolean)",
    "pg_catalog.pg_stat_file(text, boolean)",
    "pg_catalog.pg_read_binary_file(text)",
    "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
)
_ROLE = "SELECT rolreplication AND rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s"
_FOREIGN = r"""
SELECT slot_name FROM pg_replication_slots
WHERE slot_name LIKE 'signalbox\_%%' AND NOT slot_name = ANY (%s) AND NOT active
"""
_CONNECTS = """
SELECT count(*) > 0 AND bool_or(has_database_privilege(oid, 'postgres', 'CONNECT')) FROM pg_roles WHERE rolname = %s
"""


def carry_out(cursor, parameters, check_mode):
    """Names of what is done. The role checks identifiers; the verifier goes as a parameter, and is not logged."""
    name, actions = parameters["name"], []

    def do(text, statement, values=()):
        actions.append(text)
        if not check_mode:
            cursor.execute(statement, values)

    cursor.execute(_ROLE, (name,))
    found = cursor.fetchone()
    if found is None:
        do(f"create login {name}", f'CREATE ROLE "{name}" LOGIN REPLICATION NOINHERIT')
    elif not found[0]:
        do(f"let {name} replicate", f'ALTER ROLE "{name}" LOGIN REPLICATION')
    if found is None or not password_matches(parameters["password"], found[1]):
        do(
            f"set the password of {name}",
            f'ALTER ROLE "{name}" PASSWORD %s',
            (str(make_verifier(parameters["password"])),),
        )
    cursor.execute(_CONNECTS, (name,))
    if not cursor.fetchone()[0]:
        do(f"let {name} connect", f'GRANT CONNECT ON DATABASE postgres TO "{name}"')
    for function in FUNCTIONS:
        allowed = False
        if found is not None:
            cursor.execute("SELECT has_function_privilege(%s, %s, 'EXECUTE')", (name, function))
            allowed = cursor.fetchone()[0]
        if not allowed:
            do(f"let {name} call {function}", f'GRANT EXECUTE ON FUNCTION {function} TO "{name}"')
    cursor.execute(_FOREIGN, (parameters["slots"],))
    for (slot,) in cursor.fetchall():
        do(f"drop the slot {slot}, which is no standby's", "SELECT pg_drop_replication_slot(%s)", (slot,))
    return actions


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "slots": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    try:
        connection = connector(psycopg2, "/run/postgresql", 5432)("postgres")
        connection.autocommit = True
        actions = carry_out(connection.cursor(), module.params, module.check_mode)
    except psycopg2.Error as error:
        reason = error.diag.message_primary or str(error).strip().splitlines()[0]
        module.fail_json(msg=f"The replication login could not be made: {reason}")
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
