#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: restic_passwords
short_description: Have a password for each host whose state is kept
version_added: "0.1.0"
description:
  - Makes passwords of 240 random bits where there are none, and keeps them encrypted to this host, with
    C(systemd-creds). What is there stays, also for hosts that are not asked for. The task must have C(no_log).
options:
  path:
    description: The encrypted file; its name is the credential's.
    type: path
    required: true
  clients:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  authority:
    description: Certificate of the authority by which clients know this host, in PEM. It need not be there yet.
    type: path
    required: true
  directory:
    description: Where the server keeps the clients' repositories. For one that is there no password is made.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Makes none, and returns an empty password for what it would make.
  diff_mode:
    support: none
    description: A secret is never shown.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Have a password for each client
  signalbox.platform.restic_passwords:
    path: /etc/credstore.encrypted/signalbox-state-passwords
    clients: [edge1, vault1]
    authority: /etc/signalbox/tls/ca.crt
    directory: /var/lib/signalbox/kept-state
  register: made
  no_log: true
  diff: false
"""

RETURN = r"""
passwords:
  description: Name to password.
  returned: always
  type: dict
unprepared:
  description: Those of the clients that have no repository yet.
  returned: always
  type: list
  elements: str
authority:
  description: Text of the authority's certificate; empty as long as there is none.
  returned: always
  type: str
"""

import json
import os
import secrets

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._sealed import SealError, seal, unseal


def text(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "clients": {"type": "list", "elements": "str", "required": True},
            "authority": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    try:
        known = json.loads(unseal(module, path)) if os.path.exists(path) else {}
        missing = [name for name in module.params["clients"] if name not in known]
        directory = module.params["directory"]
        unprepared = [
            name for name in module.params["clients"] if not os.path.exists(os.path.join(directory, name, "config"))
        ]
        locked = [name for name in missing if name not in unprepared]
        if locked:
            raise SealError(
                f"{directory} keeps state of {', '.join(locked)}, and {path}, which was lost, had the"
                " passwords. The clients still have theirs, in /etc/credstore.encrypted/signalbox-state. To begin anew"
                " move the directories aside"
            )
        if missing and not module.check_mode:
            known.update({name: secrets.token_urlsafe(30) for name in missing})
            seal(module, path, json.dumps(known).encode())
    except SealError as error:
        module.fail_json(msg=str(error))
    passwords = {name: known.get(name, "") for name in module.params["clients"]}
    module.exit_json(
        changed=bool(missing),
        passwords=passwords,
        unprepared=unprepared,
        authority=text(module.params["authority"]),
    )


if __name__ == "__main__":
    main()
