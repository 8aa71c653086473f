#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_seal_key
short_description: Keep the key of a static seal as a credential that opens on one host only
version_added: "0.1.0"
description:
  - O(operation=present) makes a key where there is none, or takes the one that is given, and seals it with
    C(systemd-creds). A key that is there is never replaced.
  - O(operation=export) returns it, to be handed to another node; the task must have C(no_log). So does
    O(operation=find), with an empty text where there is none.
options:
  operation:
    description: What to do.
    type: str
    choices: [present, export, find]
    default: present
  path:
    description: The sealed credential; the file's name is the credential's.
    type: path
    default: /etc/credstore.encrypted/signalbox-vault-seal-key
  key:
    description: 32 bytes in base64, from another node or from the escrow. Empty for a new one.
    type: str
  storage:
    description: Directory of the raft storage. With data in it, a new key would be of no use and is refused.
    type: path
    default: /var/lib/openbao
attributes:
  check_mode:
    support: full
    description: Tells whether a key would be sealed.
  diff_mode:
    support: none
    description: A key is never shown.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Keep the seal's key
  signalbox.platform.vault_seal_key:
  no_log: true
  diff: false
"""

RETURN = r"""
key:
  description: The key in base64.
  returned: operations export and find
  type: str
"""

import base64
import binascii
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host

LENGTH = 32


def given(text):
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != LENGTH:
        raise BootstrapError(f"vault_seal_key: must be {LENGTH} bytes in base64, as the escrow holds them")
    return key


def present(module, host):
    path, wanted = module.params["path"], module.params["key"]
    if os.path.exists(path):
        if wanted and host.unseal(path) != given(wanted):
            raise BootstrapError(f"{path} holds another key than vault_seal_key. Data sealed with it would be lost.")
        return False
    if not wanted and os.path.exists(os.path.join(module.params["storage"], "vault.db")):
        raise BootstrapError(
            f"{path} is missing and {module.params['storage']} holds data that only the lost key can open. "
            "Give the key from the operators' escrow as vault_seal_key."
        )
    key = given(wanted) if wanted else os.urandom(LENGTH)
    if not module.check_mode:
        host.seal(path, key)
    return True


def main():
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": ["present", "export", "find"], "default": "present"},
            "path": {"type": "path", "default": "/etc/credstore.encrypted/signalbox-vault-seal-key"},
            "key": {"type": "str", "no_log": True},
            "storage": {"type": "path", "default": "/var/lib/openbao"},
        },
        supports_check_mode=True,
    )
    host = Host(module, "/var/lib/signalbox/vault", "signalbox-vault.service")
    try:
        if module.params["operation"] == "find" and not os.path.exists(module.params["path"]):
            module.exit_json(changed=False, key="")
        if module.params["operation"] != "present":
            key = host.unseal(module.params["path"])
            module.exit_json(changed=False, key=base64.b64encode(key).decode())
        module.exit_json(changed=present(module, host))
    except (BootstrapError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
