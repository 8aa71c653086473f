#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_sign
short_description: Sign a host's certificates with Vault
version_added: "0.1.0"
description:
  - Signs what operation C(request) of M(signalbox.platform.certificate) returned, and returns what its operation
    C(install) takes; stands in for its operation C(sign).
  - Vault signs for a host only the names and addresses that the layout gave it (M(signalbox.platform.vault_layout)),
    and this module only exactly what was requested.
options:
  host:
    description: The host that asks.
    type: str
    required: true
  requests:
    description: The host's certificates, as M(signalbox.platform.certificate) takes them.
    type: list
    elements: dict
    required: true
  signing_requests:
    description: Name to signing request.
    type: dict
    default: {}
  renew:
    description: Names to sign. When O(known_authority) is not the platform's, all are signed.
    type: list
    elements: str
    default: []
  known_authority:
    description: Certificate of the authority that the host has.
    type: str
    default: ""
  validity_days:
    description: Life of a certificate, at most 90.
    type: int
    default: 90
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Signs nothing.
  diff_mode:
    support: none
    description: Has nothing to show.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Sign what is needed
  signalbox.platform.vault_sign:
    vault_address: https://10.0.0.9:8200
    host: "{{ inventory_hostname }}"
    requests: [{name: postgresql, dns: [db1], addresses: [10.0.0.5]}]
    signing_requests: "{{ asked.signing_requests }}"
    renew: "{{ asked.reasons.keys() | list }}"
    known_authority: "{{ asked.authority }}"
  delegate_to: vault1
  when: asked.needed
"""

RETURN = r"""
certificates:
  description: Name to certificate with chain, the platform's authority last.
  returned: success
  type: dict
authority:
  description: The certificate of the platform's authority; empty in check mode.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_pki as pki
from ansible_collections.signalbox.platform.plugins.module_utils._certificate import CertificateError, parse_requests
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import CONNECTION_OPTIONS, as_provisioner
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR

DAY = 86400


def sign(vault, params):
    root = pki.authority(params["ca_file"])
    authority = root.public_bytes(files.PEM).decode()
    every = params["known_authority"] != authority
    wanted = [
        item
        for item in parse_requests(params["requests"])
        if item.name in params["signing_requests"] and (every or item.name in params["renew"])
    ]
    seconds = params["validity_days"] * DAY
    signed = pki.sign(vault, params["host"], wanted, params["signing_requests"], root, seconds)
    return {"changed": bool(signed), "certificates": signed, "authority": authority}


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "host": {"type": "str", "required": True},
            "requests": {"type": "list", "elements": "dict", "required": True},
            "signing_requests": {"type": "dict", "default": {}},
            "renew": {"type": "list", "elements": "str", "default": []},
            "known_authority": {"type": "str", "default": ""},
            "validity_days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, certificates={}, authority="")
    for library, error in (("hvac", LIBRARY_ERROR), ("cryptography", files.LIBRARY_ERROR)):
        if error:
            module.fail_json(msg=missing_required_lib(library), exception=error)
    try:
        result = as_provisioner(module, lambda vault: sign(vault, module.params))
    except (VaultError, CertificateError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
