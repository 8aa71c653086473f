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
  - O(operation=plan) tells which key the server needs beside the one that O(key_id) names, and refuses a new key that
    could not be brought in safely. O(operation=escrow) encrypts the key to each operator.
options:
  operation:
    description: What to do.
    type: str
    choices: [present, export, find, plan, escrow]
    default: present
  path:
    description: The sealed credential; the file's name is the credential's.
    type: path
    default: /etc/credstore.encrypted/signalbox-vault-seal-key-1
  previous:
    description: The sealed credential of the key that a new one replaces. Empty for none.
    type: path
  key_id:
    description: Name of the key, for operations V(plan) and V(escrow).
    type: str
    default: "1"
  configuration:
    description: The server's file about its seal.
    type: path
    default: /etc/openbao/30-seal.hcl
  credentials_directory:
    description: Where the running server has its credentials.
    type: path
    default: /run/credentials/signalbox-vault.service
  pgp_keys:
    description: Operator to PGP public key.
    type: dict
    default: {}
  directory:
    description: Where the encrypted handouts are kept.
    type: path
    default: /var/lib/signalbox/vault
  vault_address:
    description: URL of this node, for operations V(plan) and V(escrow).
    type: str
    default: https://127.0.0.1:8200
  ca_file:
    description: The authority of its certificate.
    type: path
    default: /etc/signalbox/tls/ca.crt
  key:
    description: 32 bytes in base64, from another node or from the escrow. Empty for a new one.
    type: str
  storage:
    description:
      - Directory of the raft storage. With data in it, a new key would be of no use and is refused, unless O(previous)
        is there.
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
previous:
  description: Name of the key that the server needs beside O(key_id). Empty for none.
  returned: operation plan
  type: str
handouts:
  description: File name without its end to the text to hand over.
  returned: operation escrow
  type: dict
"""

import base64
import binascii
import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_seal_key as rules
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_server
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_server import Server

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
    replaces = module.params["previous"] and os.path.exists(module.params["previous"])
    if not wanted and not replaces and os.path.exists(os.path.join(module.params["storage"], "vault.db")):
        raise BootstrapError(
            f"{path} is missing and {module.params['storage']} holds data that only the lost key can open. "
            "Give the key from the operators' escrow as vault_seal_key."
        )
    key = given(wanted) if wanted else os.urandom(LENGTH)
    if wanted and replaces and host.unseal(module.params["previous"]) == key:
        raise BootstrapError(
            f"vault_seal_key is the key that {module.params['previous']} holds: under another vault_seal_key_id it "
            "would still be that key. Take vault_seal_key out of the inventory, so that a new one is made."
        )
    if not module.check_mode:
        host.seal(path, key)
    return True


def server_of(module):
    if _vault_server.LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=_vault_server.LIBRARY_ERROR)
    return Server(_vault_server.Settings(module.params["vault_address"], module.params["ca_file"]))


def plan(module):
    params = module.params
    try:
        with open(params["configuration"], encoding="utf-8") as file:
            ids = rules.configured(file.read())
    except FileNotFoundError:
        return {"changed": False, "previous": ""}
    current = ids.get("current", "")
    loaded = recovery_keys = False
    if current not in ("", params["key_id"]):
        # The credential of the key that is there has that one's name.
        name = os.path.basename(params["path"])[: -len(params["key_id"])] + current
        loaded = os.path.exists(os.path.join(params["credentials_directory"], name))
        status = server_of(module).seal_status() if loaded else {}
        # A sealed node cannot tell; the others can.
        recovery_keys = bool(status.get("n") or status.get("sealed"))
    seen = rules.Seen(current, ids.get("previous", ""), loaded, recovery_keys)
    return {"changed": False, "previous": rules.previous_key(seen, params["key_id"], bool(params["pgp_keys"]))}


def escrow(module, host):
    params = module.params
    kept = host.handouts()
    missing = {
        name: text for name, text in params["pgp_keys"].items() if f"{name}.seal-key-{params['key_id']}" not in kept
    }
    if not missing or module.check_mode:
        return {"changed": bool(missing), "handouts": kept}
    encrypted = host.encrypt(missing, host.unseal(params["path"]))
    made = rules.handouts(encrypted, params["key_id"], str(server_of(module).health().get("cluster_id", "")))
    host.keep_handouts(made)
    return {"changed": True, "handouts": host.handouts()}


def main():
    module = AnsibleModule(
        argument_spec={
            "operation": {
                "type": "str",
                "choices": ["present", "export", "find", "plan", "escrow"],
                "default": "present",
            },
            "path": {"type": "path", "default": "/etc/credstore.encrypted/signalbox-vault-seal-key-1"},
            "previous": {"type": "path"},
            "key_id": {"type": "str", "default": "1", "no_log": False},
            "configuration": {"type": "path", "default": "/etc/openbao/30-seal.hcl"},
            "credentials_directory": {"type": "path", "default": "/run/credentials/signalbox-vault.service"},
            "pgp_keys": {"type": "dict", "default": {}, "no_log": False},
            "directory": {"type": "path", "default": "/var/lib/signalbox/vault"},
            "vault_address": {"type": "str", "default": "https://127.0.0.1:8200"},
            "ca_file": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
            "key": {"type": "str", "no_log": True},
            "storage": {"type": "path", "default": "/var/lib/openbao"},
        },
        supports_check_mode=True,
    )
    host = Host(module, module.params["directory"], "signalbox-vault.service")
    try:
        if module.params["operation"] == "plan":
            module.exit_json(**plan(module))
        if module.params["operation"] == "escrow":
            module.exit_json(**escrow(module, host))
        if module.params["operation"] == "find" and not os.path.exists(module.params["path"]):
            module.exit_json(changed=False, key="")
        if module.params["operation"] != "present":
            key = host.unseal(module.params["path"])
            module.exit_json(changed=False, key=base64.b64encode(key).decode())
        module.exit_json(changed=present(module, host))
    except (BootstrapError, VaultError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
