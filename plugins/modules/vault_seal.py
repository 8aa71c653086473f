#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_seal
short_description: Seal Vault on purpose, or unseal a node with shares
version_added: "0.1.0"
description:
  - O(operation=look) tells whether the node is sealed and whether it leads.
  - O(operation=seal), on the node that keeps the provisioner's credential, seals the active node wherever it is, and
    whichever takes over, until none can. Only an active node can be sealed; what is left without a majority answers
    nothing, and has to be stopped to forget its key.
  - O(operation=unseal) gives the node its shares. A node that is not sealed is left alone.
options:
  operation:
    description: What to do.
    type: str
    choices: [look, seal, unseal]
    required: true
  vault_address:
    description: URL of this node.
    type: str
    required: true
  ca_file:
    description: The authority of its certificate.
    type: path
    default: /etc/signalbox/tls/ca.crt
  nodes:
    description: URLs of all nodes; O(operation=seal). Empty for this one alone.
    type: list
    elements: str
    default: []
  shares:
    description: Opened unseal shares; O(operation=unseal).
    type: list
    elements: str
    default: []
  wait_seconds:
    description: How long it may take until a leader answers.
    type: float
    default: 30
attributes:
  check_mode:
    support: full
    description: Tells whether it would seal or unseal.
  diff_mode:
    support: none
    description: RV(sealed) says it all.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Seal
  signalbox.platform.vault_seal:
    operation: seal
    vault_address: https://10.0.0.5:8200
"""

RETURN = r"""
sealed:
  description: Whether the node was sealed when looked at, or is now.
  returned: success
  type: bool
active:
  description: Whether it is the node that leads.
  returned: operation look
  type: bool
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_node as node
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_server
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_server import Server

# An election may be under way, because the leader was just sealed.
ELECTION_PAUSE_SECONDS = 0.3


def look(module, settings):
    health = Server(settings).health()
    return {"changed": False, "sealed": health["sealed"], "active": not health["sealed"] and not health["standby"]}


def is_open(settings):
    try:
        return not Server(settings).seal_status()["sealed"]
    except VaultError:
        return False  # it is not running, and knows no key


def next_leader(module, nodes):
    """Address of the active node, or empty when no majority of open nodes is left, or none was elected in time."""
    deadline = time.monotonic() + module.params["wait_seconds"]
    while True:
        opened = [settings for settings in nodes if is_open(settings)]
        leaders = [address for address in map(node.leader_address, opened) if address]
        known = [settings for settings in opened if settings.address in leaders]
        if known or len(opened) <= len(nodes) // 2 or time.monotonic() > deadline:
            return known[0] if known else None
        time.sleep(ELECTION_PAUSE_SECONDS)


def seal(module, settings):
    addresses = module.params["nodes"] or [settings.address]
    nodes = [_vault_server.Settings(address, settings.ca_file) for address in addresses]
    leader, changed = next_leader(module, nodes), False
    host = Host(module, "/var/lib/signalbox/vault", "signalbox-vault.service")
    deadline = time.monotonic() + module.params["wait_seconds"] * len(nodes)
    while leader and not module.check_mode:
        try:
            node.login(leader, host, paths.PROVISIONER_CREDENTIAL).post("sys/seal", {})
            changed = True
        except VaultError:  # it leads since a moment ago, or does no longer
            if time.monotonic() > deadline:
                raise
            time.sleep(ELECTION_PAUSE_SECONDS)
        leader = next_leader(module, nodes)
    changed = changed or leader is not None
    return {"changed": changed, "sealed": not module.check_mode}


def unseal(module, settings):
    status = Server(settings).seal_status()
    if not status["sealed"]:
        return {"changed": False, "sealed": False}
    if not module.check_mode:
        status = Server(settings).unseal([share.strip() for share in module.params["shares"]])
        if status["sealed"]:
            raise BootstrapError(
                f"The node stays sealed: {status.get('t')} shares are needed, {len(module.params['shares'])} were "
                "given."
            )
    return {"changed": True, "sealed": status["sealed"]}


def main():
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": ["look", "seal", "unseal"], "required": True},
            "vault_address": {"type": "str", "required": True},
            "ca_file": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
            "nodes": {"type": "list", "elements": "str", "default": []},
            "shares": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "wait_seconds": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    if _vault_server.LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=_vault_server.LIBRARY_ERROR)
    settings = _vault_server.Settings(module.params["vault_address"], module.params["ca_file"])
    try:
        result = {"look": look, "seal": seal, "unseal": unseal}[module.params["operation"]](module, settings)
    except (VaultError, BootstrapError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
