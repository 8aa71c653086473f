#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_own_keys
short_description: Give Vault itself new keys
version_added: "0.1.0"
description:
  - Rotates the key ring of Vault's storage, and gives the provisioner a new secret id, after which no earlier one is
    accepted. Nobody is disturbed, what was encrypted with earlier keys stays readable.
  - The new secret id is proven by a login and sealed to the host before the earlier ones are destroyed, so that the
    module may be killed at any moment and repeated.
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Changes nothing and says that it would.
  diff_mode:
    support: none
    description: Keys are not shown.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Give Vault new keys
  signalbox.platform.vault_own_keys:
    vault_address: https://10.0.0.9:8200
"""

RETURN = r"""
ring_term:
  description: Number of the key ring's newest key.
  returned: not in check mode
  type: int
destroyed:
  description: How many earlier secret ids of the provisioner were destroyed.
  returned: not in check mode
  type: int
"""

import json

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_own_keys as own
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import (
    CONNECTION_OPTIONS,
    as_provisioner,
    settings_of,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR, Vault


def rotate(module, vault):
    params = module.params
    host = Host(module, "/var/lib/signalbox/vault", "signalbox-vault.service")

    def prove(role_id, secret_id):
        proof = Vault(settings_of(module))
        proof.login(role_id, secret_id)
        proof.revoke()

    def keep(credential):
        host.seal(params["credential"], json.dumps(credential).encode())

    return {
        "ring_term": own.rotate_ring(vault),
        "destroyed": own.renew_provisioner(vault, prove, keep),
    }


def main():
    module = AnsibleModule(
        argument_spec=dict(CONNECTION_OPTIONS),
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    try:
        result = as_provisioner(module, lambda vault: rotate(module, vault))
    except (VaultError, BootstrapError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
