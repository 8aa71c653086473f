#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_node
short_description: Give a Vault node the identities of its own programs, and see that it votes
version_added: "0.1.0"
description:
  - O(operation=look), on the node, names the identities whose credential is missing or refused.
  - O(operation=issue), on the node that was bootstrapped, lays out the AppRoles for snapshots and checks, waits until
    the node votes, and returns response-wrapped secret ids for what is missing. The task must have C(no_log).
  - O(operation=take), on the node, unwraps and seals them.
options:
  operation:
    description: Step to take.
    type: str
    choices: [look, issue, take]
    required: true
  vault_address:
    description: URL of Vault as seen from where the step runs.
    type: str
    required: true
  ca_file:
    description: The authority of its certificate.
    type: path
    default: /etc/signalbox/tls/ca.crt
  node:
    description: The node's name in the cluster; O(operation=issue).
    type: str
  nodes:
    description: How many nodes the cluster is to have; O(operation=issue).
    type: int
    default: 1
  missing:
    description: Identities to issue, as O(operation=look) named them.
    type: list
    elements: str
    default: []
  issued:
    description: What O(operation=issue) returned; O(operation=take).
    type: dict
    default: {}
  wait_seconds:
    description: How long the node may take to become a voter.
    type: float
    default: 60
attributes:
  check_mode:
    support: full
    description: O(operation=issue) and O(operation=take) do nothing.
  diff_mode:
    support: none
    description: Nothing to show.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Look which identities the node lacks
  signalbox.platform.vault_node:
    operation: look
    vault_address: https://127.0.0.1:8200
  register: looked
"""

RETURN = r"""
missing:
  description: Identities without a working credential.
  returned: operation look
  type: list
  elements: str
issued:
  description: Identity to C(role_id) and wrapping C(token), which is of use once and for two minutes.
  returned: operation issue
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_node as node
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_server
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host

ARGUMENTS = {
    "operation": {"type": "str", "choices": ["look", "issue", "take"], "required": True},
    "vault_address": {"type": "str", "required": True},
    "ca_file": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
    "node": {"type": "str"},
    "nodes": {"type": "int", "default": 1},
    "missing": {"type": "list", "elements": "str", "default": []},
    "issued": {"type": "dict", "default": {}, "no_log": False},
    "wait_seconds": {"type": "float", "default": 60},
}


def issue(params, settings, host):
    server = node.login(settings, host, paths.PROVISIONER_CREDENTIAL)
    try:
        node.await_voter(server, params["node"], params["wait_seconds"])
        changed = node.autopilot(server, params["nodes"])
        laid_out, issued = node.issue(server, params["node"], params["missing"])
    finally:
        server.revoke()
    return {"changed": changed or laid_out, "issued": issued}


def work(module):
    params = module.params
    settings = _vault_server.Settings(params["vault_address"], params["ca_file"])
    host = Host(module, "/var/lib/signalbox/vault", "signalbox-vault.service")
    if params["operation"] == "look":
        return {"changed": False, "missing": node.missing(settings, host)}
    if module.check_mode:
        return {"changed": False, "issued": {}}
    if params["operation"] == "issue":
        return issue(params, settings, host)
    node.take(settings, host, params["issued"])
    return {"changed": bool(params["issued"])}


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENTS, supports_check_mode=True, required_if=[["operation", "issue", ["node"]]]
    )
    if _vault_server.LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=_vault_server.LIBRARY_ERROR)
    try:
        result = work(module)
    except (VaultError, BootstrapError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
