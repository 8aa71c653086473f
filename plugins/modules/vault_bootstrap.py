#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_bootstrap
short_description: Bring a fresh Vault server to where its provisioner can work, and leave no root token
version_added: "0.1.0"
description:
  - Runs on the Vault host. Initialises the server, lets nobody but the named operators open a share, makes the AppRole
    C(signalbox-provisioner), seals its credential to the host and revokes the root token, which never leaves this
    module's memory.
  - Tells the states apart in RV(state) - V(unreachable), V(uninitialised), V(sealed), V(not_bootstrapped) and
    V(ready) - and fails with what to do where it may not act. A server that is ready is left alone.
  - With seal V(shamir) the server is initialised with one share in memory, which is exchanged for the operators' own
    before the root token goes.
  - With O(snapshot) a fresh server is given the storage of an earlier one.
options:
  vault_address:
    description: URL of this node.
    type: str
    required: true
  ca_file:
    description: The authority of its certificate.
    type: path
    default: /etc/signalbox/tls/ca.crt
  credential:
    description: Where the provisioner's credential is sealed; the file's name is the credential's.
    type: path
    default: /etc/credstore.encrypted/signalbox-vault-provisioner
  kind:
    description:
      - Which server it is. V(hashicorp) is experimental, for it was not run; its operators' shares are exchanged
        through C(sys/rekey), OpenBao's through C(sys/rotate/root).
    type: str
    choices: [openbao, hashicorp]
    default: openbao
  seal:
    description: How the server is unsealed.
    type: str
    choices: [static, transit, shamir]
    default: static
  seal_key:
    description: Sealed credential of a static seal's key, of which the operators get an encrypted copy. Empty for none.
    type: path
  pgp_keys:
    description: Operator to PGP public key, ASCII-armoured or in base64. Each gets one share.
    type: dict
    default: {}
  threshold:
    description: How many shares it takes; 0 for more than half.
    type: int
    default: 0
  lab:
    description: Whether the server may do without shares, because it may be lost. Not with seal V(shamir).
    type: bool
    default: false
  reset_unfinished:
    description: Empty the storage of a server whose bootstrap has provably never finished, and start again.
    type: bool
    default: false
  recovery_shares:
    description: A quorum of opened shares, to make a lost provisioner anew.
    type: list
    elements: str
    default: []
  snapshot:
    description: Raft snapshot to restore into a server that is not initialised. Needs its cluster's O(recovery_shares).
    type: path
  peers:
    description: URLs of the other nodes. A cluster is not started beside one that exists.
    type: list
    elements: str
    default: []
  networks:
    description: Networks from which the provisioner's credential is accepted; any when empty.
    type: list
    elements: str
    default: []
  audit_devices:
    description: Audit devices to enable through the API, which HashiCorp Vault needs; name, type, options.
    type: list
    elements: dict
    default: []
  storage:
    description: Directory of the raft storage.
    type: path
    default: /var/lib/openbao
  operator_socket:
    description: Socket on which the server takes a quorum of shares.
    type: path
    default: /run/signalbox-vault/operator.sock
  directory:
    description: Where the record of the bootstrap and the encrypted handouts are kept.
    type: path
    default: /var/lib/signalbox/vault
  unit:
    description: The server's unit.
    type: str
    default: signalbox-vault.service
  wait_seconds:
    description: How long the server may take to become active.
    type: float
    default: 60
requirements:
  - hvac 2.3 or newer on the host
  - gpg on the host where O(seal_key) and O(pgp_keys) are given
attributes:
  check_mode:
    support: full
    description: Looks and tells what it would do.
  diff_mode:
    support: full
    description: The state before and after.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Bootstrap Vault
  signalbox.platform.vault_bootstrap:
    vault_address: https://127.0.0.1:8200
    seal_key: /etc/credstore.encrypted/signalbox-vault-seal-key-1
    pgp_keys:
      alice: "{{ lookup('ansible.builtin.file', 'keys/alice.asc') }}"
      bob: "{{ lookup('ansible.builtin.file', 'keys/bob.asc') }}"
    threshold: 2
"""

RETURN = r"""
state:
  description: What the server was found in.
  returned: always
  type: str
action:
  description: C(nothing), C(initialise), C(record), C(reset) or C(recover); in check mode what would be done.
  returned: success
  type: str
handouts:
  description: Operator to the text to hand over. Only the holder of the private key can open it.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_server
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import (
    FAIL,
    NOTHING,
    READY,
    BootstrapError,
    Wanted,
    judge,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_run import Bootstrap, Site

ARGUMENTS = {
    "vault_address": {"type": "str", "required": True},
    "ca_file": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
    "credential": {"type": "path", "default": paths.PROVISIONER_CREDENTIAL},
    "kind": {"type": "str", "choices": ["openbao", "hashicorp"], "default": "openbao"},
    "seal": {"type": "str", "choices": ["static", "transit", "shamir"], "default": "static"},
    "seal_key": {"type": "path", "no_log": False},
    "pgp_keys": {"type": "dict", "default": {}, "no_log": False},
    "threshold": {"type": "int", "default": 0},
    "lab": {"type": "bool", "default": False},
    "reset_unfinished": {"type": "bool", "default": False},
    "recovery_shares": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "snapshot": {"type": "path"},
    "peers": {"type": "list", "elements": "str", "default": []},
    "networks": {"type": "list", "elements": "str", "default": []},
    "audit_devices": {"type": "list", "elements": "dict", "default": []},
    "storage": {"type": "path", "default": "/var/lib/openbao"},
    "operator_socket": {"type": "path", "default": "/run/signalbox-vault/operator.sock"},
    "directory": {"type": "path", "default": "/var/lib/signalbox/vault"},
    "unit": {"type": "str", "default": "signalbox-vault.service"},
    "wait_seconds": {"type": "float", "default": 60},
}


def site_of(params):
    return Site(
        address=params["vault_address"],
        ca_file=params["ca_file"],
        credential=params["credential"],
        storage=params["storage"],
        socket=params["operator_socket"],
        seal_key=params["seal_key"] or "",
        peers=tuple(params["peers"]),
        networks=tuple(params["networks"]),
        wait_seconds=params["wait_seconds"],
        audit_devices=tuple(params["audit_devices"]),
        kind=params["kind"],
    )


def wanted_of(params):
    return Wanted(
        seal=params["seal"],
        pgp_keys=params["pgp_keys"],
        threshold=params["threshold"],
        lab=params["lab"],
        reset_unfinished=params["reset_unfinished"],
        recovery_shares=bool(params["recovery_shares"]),
        restore=bool(params["snapshot"]),
    )


def work(module, host):
    params = module.params
    bootstrap = Bootstrap(site_of(params), host, wanted_of(params), params["recovery_shares"], params["snapshot"] or "")
    verdict = judge(bootstrap.look(), wanted_of(params))
    if verdict.action == FAIL:
        module.fail_json(msg=f"Vault is {verdict.state.replace('_', ' ')}. {verdict.message}", state=verdict.state)
    changed = verdict.action != NOTHING if module.check_mode else bootstrap.work(verdict)
    return {
        "changed": changed,
        "state": verdict.state,
        "action": verdict.action,
        "handouts": host.handouts(),
        "diff": {"before": {"state": verdict.state}, "after": {"state": READY}},
    }


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_by={"snapshot": ["recovery_shares"]},
    )
    if _vault_server.LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=_vault_server.LIBRARY_ERROR)
    try:
        result = work(module, Host(module, module.params["directory"], module.params["unit"]))
    except (VaultError, BootstrapError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
