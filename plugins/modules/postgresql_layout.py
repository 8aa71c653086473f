#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_layout
short_description: Databases, roles and rights of a PostgreSQL server in one call
description:
  - Brings a local PostgreSQL server (16 or newer) to a declared layout. Each database has an owner role that runs
    migrations, a group role C(<database>_app) with SELECT, INSERT, UPDATE and DELETE, a group role C(<database>_read)
    with SELECT, and login roles that are members of one group. Rights reach future tables by default privileges of the
    owner.
  - Passwords are compared and set as SCRAM-SHA-256 verifiers computed on the host, so that no password stands in a
    statement. The session keeps its statements out of the server's log and statistics.
  - A table on which a group has any right at all is left alone, so that a migration may grant less than the default.
  - Nothing is dropped unless its entry says O(databases[].state=absent), and the data only when O(databases[].confirm)
    repeats the name.
requirements: [python3-psycopg2]
version_added: "0.1.0"
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Plans and changes nothing.
  diff_mode:
    support: full
    description: Shows the descriptions of the steps, never a statement or a secret.
options:
  databases:
    description: Databases with their owner, extensions and logins.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the database; lower-case letters, digits and underscores.
        type: str
        required: true
      owner:
        description: Login role that owns the database and runs migrations; C(<name>_owner) where empty.
        type: str
        default: ""
      owner_connection_limit:
        description: Most sessions of the owner at once; -1 for no limit.
        type: int
        default: -1
      extensions:
        description: Extensions to create; C(pg_stat_statements) always is.
        type: list
        elements: str
        default: []
      schemas:
        description: Schemas the owner owns and the groups may use.
        type: list
        elements: str
        default: [public]
      logins:
        description: Login roles of this database.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the role.
            type: str
            required: true
          access:
            description: V(app) for reading and writing rows, V(read) for reading.
            type: str
            choices: [app, read]
            default: app
          connection_limit:
            description: Most sessions at once; -1 for no limit.
            type: int
            default: -1
          state:
            description: V(absent) ends the role's sessions and drops it; refused while it owns anything.
            type: str
            choices: [present, absent]
            default: present
      state:
        description: V(absent) drops the logins and locks the owner out; only O(databases[].confirm) drops the data.
        type: str
        choices: [present, absent]
        default: present
      confirm:
        description: The database's own name, to drop it with its data and its owner.
        type: str
        default: ""
  roles:
    description: Login roles that belong to no single database, for monitoring and checks.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      member_of:
        description: Roles whose rights it has, such as C(pg_monitor) or C(pg_read_all_data).
        type: list
        elements: str
        default: []
      databases:
        description: Databases it may connect to.
        type: list
        elements: str
        default: [postgres]
      connection_limit:
        description: Most sessions at once; -1 for no limit.
        type: int
        default: -1
      state:
        description: V(absent) ends the role's sessions and drops it.
        type: str
        choices: [present, absent]
        default: present
  passwords:
    description: Role name to password of 16 characters or more. A role without an entry keeps what it has.
    type: dict
    default: {}
  rotator:
    description:
      - A login role that sets the passwords of the databases' owners and logins from outside, as Vault does. It gets
        CREATEROLE and, of those roles alone, ADMIN without INHERIT and SET, so that it can neither act as them nor read
        for them.
      - With it, O(passwords) must hold none of an owner or a database's login.
    type: dict
    suboptions:
      name:
        description: Name of the role; without it there is none.
        type: str
        default: ""
      password:
        description: Its first password, which it changes at once. Left out, it keeps what it has.
        type: str
        default: ""
  socket_directory:
    description: Directory of the server's socket.
    type: path
    default: /run/postgresql
  port:
    description: Port number that is part of the socket's name.
    type: int
    default: 5432
  user:
    description: Superuser to act as; root takes this user's identity while it connects (peer authentication).
    type: str
    default: postgres
"""

EXAMPLES = r"""
- name: Lay out the databases
  signalbox.platform.postgresql_layout:
    databases:
      - name: agent_api
        extensions: [pgcrypto]
        logins:
          - {name: agent_api_blue, connection_limit: 40}
          - {name: agent_api_green, connection_limit: 40}
          - {name: agent_api_check, access: read, connection_limit: 3}
    passwords: "{{ database_passwords }}"
  no_log: true
  diff: false

- name: Drop a database with its data, its logins and its owner
  signalbox.platform.postgresql_layout:
    databases:
      - name: agent_api
        logins: [{name: agent_api_blue}, {name: agent_api_green}, {name: agent_api_check}]
        state: absent
        confirm: agent_api
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in order. Names only.
  returned: success, and on a failure half way
  type: list
  elements: str
  sample: [create login role agent_api_blue, set the password of agent_api_blue]
problems:
  description: Why the layout was refused, one sentence each.
  returned: when the layout was refused
  type: list
  elements: str
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import Catalogue, connector
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_layout import plan
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_wanted import LayoutError, parse

try:
    import psycopg2
except ImportError:
    psycopg2 = None
    PSYCOPG2_ERROR = traceback.format_exc()
else:
    PSYCOPG2_ERROR = None


def limit():
    return {"type": "int", "default": -1}


def state():
    return {"type": "str", "choices": ["present", "absent"], "default": "present"}


def names(default):
    return {"type": "list", "elements": "str", "default": default}


def argument_spec():
    name = {"type": "str", "required": True}
    login = {
        "name": name,
        "access": {"type": "str", "choices": ["app", "read"], "default": "app"},
        "connection_limit": limit(),
        "state": state(),
    }
    database = {
        "name": name,
        "owner": {"type": "str", "default": ""},
        "owner_connection_limit": limit(),
        "extensions": names([]),
        "schemas": names(["public"]),
        "logins": {"type": "list", "elements": "dict", "default": [], "options": login},
        "state": state(),
        "confirm": {"type": "str", "default": ""},
    }
    role = {
        "name": name,
        "member_of": names([]),
        "databases": names(["postgres"]),
        "connection_limit": limit(),
        "state": state(),
    }
    return {
        "databases": {"type": "list", "elements": "dict", "default": [], "options": database},
        "roles": {"type": "list", "elements": "dict", "default": [], "options": role},
        "passwords": {"type": "dict", "default": {}, "no_log": True},
        "rotator": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "default": ""},
                "password": {"type": "str", "default": "", "no_log": True},
            },
        },
        "socket_directory": {"type": "path", "default": "/run/postgresql"},
        "port": {"type": "int", "default": 5432},
        "user": {"type": "str", "default": "postgres"},
    }


def lay_out(module, done):
    parameters = module.params
    layout = parse(parameters["databases"], parameters["roles"], parameters["passwords"], parameters["rotator"])
    catalogue = Catalogue(
        connector(psycopg2, parameters["socket_directory"], parameters["port"], user=parameters["user"])
    )
    actions = plan(catalogue.read(layout), layout)
    if not module.check_mode:
        catalogue.carry_out(actions, done)
    return [action.description for action in actions]


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=PSYCOPG2_ERROR)
    done = []
    try:
        actions = lay_out(module, done)
    except LayoutError as error:
        module.fail_json(msg="The database layout was refused: " + "; ".join(error.problems), problems=error.problems)
    except KeyError:
        module.fail_json(msg=f"The host has no user '{module.params['user']}'; is PostgreSQL installed?")
    except psycopg2.Error as error:
        # The message names objects; the statement could hold a verifier and is left out.
        reason = error.diag.message_primary or str(error).strip().splitlines()[0]
        module.fail_json(msg=f"PostgreSQL refused a step of the layout: {reason}", actions=done)
    diff = {"before": "", "after": "".join(f"{line}\n" for line in actions)}
    module.exit_json(changed=bool(actions), actions=actions, diff=diff)


if __name__ == "__main__":
    main()
