#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_login
short_description: Prove that roles can log in to PostgreSQL over verified TLS
description:
  - Logs in over TCP as each role, with the server's certificate verified against a CA and a name, runs a query, and
    fails with the list of those that were refused.
requirements: [python3-psycopg2]
version_added: "0.1.0"
extends_documentation_fragment: [signalbox.platform.login]
options:
  port:
    description: TCP port.
    type: int
    default: 5432
  logins:
    description: Who logs in where, each with C(user), C(database) and C(password).
    type: list
    elements: dict
    required: true
    suboptions:
      user:
        description: Role.
        type: str
        required: true
      database:
        description: Database.
        type: str
        required: true
      password:
        description: Password.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Log in as the application
  signalbox.platform.postgresql_login:
    address: 10.0.0.5
    server_name: data1.internal
    ca_path: /etc/signalbox/tls/ca.crt
    logins: [{user: agent_api_blue, database: agent_api, password: "{{ password }}"}]
  no_log: true
"""

RETURN = r"""
accepted:
  description: Roles that logged in, as C(user@database).
  returned: always
  type: list
  elements: str
refused:
  description: Roles that did not, with the reason.
  returned: always
  type: list
  elements: str
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._service_login import Server, postgresql_refusal

try:
    import psycopg2
except ImportError:
    psycopg2 = None
    PSYCOPG2_ERROR = traceback.format_exc()
else:
    PSYCOPG2_ERROR = None

LOGIN = {
    "user": {"type": "str", "required": True},
    "database": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}


def main():
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "server_name": {"type": "str", "default": ""},
            "ca_path": {"type": "path", "required": True},
            "logins": {"type": "list", "elements": "dict", "required": True, "options": LOGIN},
            "timeout_seconds": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=PSYCOPG2_ERROR)
    given = module.params
    server = Server(given["address"], given["port"], given["ca_path"], given["server_name"], given["timeout_seconds"])
    accepted, refused = [], []
    for login in given["logins"]:
        reason = postgresql_refusal(psycopg2, server, login["user"], login["database"], login["password"])
        who = f"{login['user']}@{login['database']}"
        if reason is None:
            accepted.append(who)
        else:
            refused.append(f"{who}: {reason}")
    if refused:
        module.fail_json(msg="PostgreSQL refused over TLS: " + "; ".join(refused), accepted=accepted, refused=refused)
    module.exit_json(changed=False, accepted=accepted, refused=[])


if __name__ == "__main__":
    main()
