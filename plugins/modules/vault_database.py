#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_database
short_description: Let Vault set the passwords of PostgreSQL's logins
version_added: "0.1.0"
description:
  - Vault logs in to PostgreSQL as O(login), over verified TLS, and sets the passwords of O(roles), each of which is a
    login of the same name. It sends SCRAM verifiers, never a password.
  - O(operation=check) tells whether Vault can log in. If not, it makes a password, which the play sets on the database
    host (role postgresql, C(postgresql_rotator)) and hands to O(operation=connect).
  - O(operation=connect) has Vault change that password at once to one that nobody else knows, and makes the roles that
    are not there yet. Vault sets a new role's password as it makes it; an app that used the login with another one
    needs a release then.
  - O(operation=rotate) gives O(roles) new passwords. Sessions stay; who logs in next needs the new one. A role that
    failed keeps the password that it had, which is valid.
options:
  operation:
    description: Step to take.
    type: str
    required: true
    choices: [check, connect, rotate]
  address:
    description:
      - Address or name of the PostgreSQL server, as its certificate has it. Not needed for O(operation=rotate).
    type: str
    default: ""
  port:
    description: Its port.
    type: int
    default: 5432
  login:
    description: The login by which Vault comes.
    type: str
    default: vault
  server_ca_file:
    description: Certificate of the authority that signed PostgreSQL's, on the Vault host and readable by Vault.
    type: path
    default: /etc/signalbox/tls/ca.crt
  password:
    description:
      - O(operation=connect); the password that O(operation=check) made and the play has set since. Left out, the stored
        connection must serve.
    type: str
    default: ""
  roles:
    description: Logins; C(static_roles) of the filter P(signalbox.platform.vault_layout#filter), or some of them.
    type: list
    elements: str
    default: []
  deadline_seconds:
    description: O(operation=rotate); how long to go on trying, for all roles together.
    type: float
    default: 60.0
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Tells what is there by what Vault has stored, without a login to PostgreSQL; changes nothing.
  diff_mode:
    support: none
    description: Has nothing to show.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Ask whether Vault can log in to PostgreSQL
  signalbox.platform.vault_database:
    vault_address: https://10.0.0.9:8200
    operation: check
    address: 10.0.0.5
    roles: [agent_api_owner, agent_api_blue, agent_api_green]
  register: database
  no_log: true

# Here the role postgresql runs on the database host with postgresql_rotator and postgresql_rotator_password.

- name: Connect Vault to PostgreSQL
  signalbox.platform.vault_database:
    vault_address: https://10.0.0.9:8200
    operation: connect
    address: 10.0.0.5
    password: "{{ database.password }}"
    roles: [agent_api_owner, agent_api_blue, agent_api_green]
  no_log: true

- name: Rotate the idle slot's password
  signalbox.platform.vault_database:
    vault_address: https://10.0.0.9:8200
    operation: rotate
    roles: [agent_api_green]
"""

RETURN = r"""
connected:
  description: Whether Vault can log in to PostgreSQL.
  returned: operation check
  type: bool
reason:
  description: Why not; empty when it can.
  returned: operation check
  type: str
password:
  description: A password to set for O(login); a secret until O(operation=connect). Empty when Vault can log in.
  returned: operation check
  type: str
missing_roles:
  description: Those of O(roles) that Vault does not know yet.
  returned: operation check
  type: list
  elements: str
created_roles:
  description: Roles that were made or corrected, or would be.
  returned: operation connect
  type: list
  elements: str
rotated:
  description: Roles with a new password.
  returned: operation rotate, also on failure
  type: list
  elements: str
unchanged:
  description: Role to why it keeps the password that it had.
  returned: operation rotate, also on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_database as database
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import (
    CONNECTION_OPTIONS,
    as_provisioner,
    not_there_yet,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def server_of(params):
    address = database.checked(params["address"])
    return database.Server(address, params["port"], params["login"], params["server_ca_file"])


def check(vault, module):
    params = module.params
    reason = database.connection_problem(vault, server_of(params), module.check_mode)
    return {
        "changed": False,
        "connected": not reason,
        "reason": reason,
        "password": database.new_password() if reason else "",
        "missing_roles": database.missing_roles(vault, params["roles"]),
    }


def connect(vault, module):
    params, server = module.params, server_of(module.params)
    reason = database.connection_problem(vault, server, module.check_mode)
    if reason and not params["password"]:
        raise VaultError(
            f"Vault cannot log in to PostgreSQL at {server.address} as {server.login}: {reason}. Remedy: run operation "
            "check, set the password that it makes on the database host, and give it here."
        )
    if reason and not module.check_mode:
        database.connect(vault, server, params["password"])
    created = database.create_roles(vault, params["roles"], module.check_mode)
    return {"changed": bool(reason or created), "created_roles": created}


def rotate(vault, module):
    roles = module.params["roles"]
    if module.check_mode:
        return {"changed": bool(roles), "rotated": [], "unchanged": {}}
    result = database.rotate(vault, roles, module.params["deadline_seconds"])
    return {"changed": bool(result.rotated), "rotated": list(result.rotated), "unchanged": dict(result.failed)}


def absent(module):
    """The answer of a first run in check mode, before there is a Vault."""
    params = module.params
    answers = {
        "check": {"changed": False, "connected": False, "reason": "there is none", "missing_roles": params["roles"]},
        "connect": {"changed": True, "created_roles": params["roles"]},
        "rotate": {"changed": bool(params["roles"]), "rotated": [], "unchanged": {}},
    }
    stand_in = {"password": database.new_password()} if params["operation"] == "check" else {}
    return {**answers[params["operation"]], **stand_in}


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "operation": {"type": "str", "required": True, "choices": ["check", "connect", "rotate"]},
            "address": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 5432},
            "login": {"type": "str", "default": "vault"},
            "server_ca_file": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
            "password": {"type": "str", "default": "", "no_log": True},
            "roles": {"type": "list", "elements": "str", "default": []},
            "deadline_seconds": {"type": "float", "default": 60.0},
        },
        required_if=[("operation", "check", ["address"]), ("operation", "connect", ["address"])],
        supports_check_mode=True,
    )
    if not_there_yet(module):
        module.exit_json(**absent(module))
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    operation = {"check": check, "connect": connect, "rotate": rotate}[module.params["operation"]]
    try:
        result = as_provisioner(module, lambda vault: operation(vault, module))
    except VaultError as error:
        module.fail_json(msg=str(error))
    if result.get("unchanged"):
        named = "; ".join(f"{name}: {reason}" for name, reason in result["unchanged"].items())
        module.fail_json(
            msg=f"Not rotated, and still valid with the password they had: {named}. Remedy: mend what is named and run "
            "the rotation again.",
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
