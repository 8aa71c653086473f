#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_pki
short_description: Make Vault an authority below the platform's own
version_added: "0.1.0"
description:
  - O(operation=request) tells whether Vault needs a certificate as an authority, and makes the request for it. The
    key is made inside Vault and never leaves it.
  - O(operation=set) imports what the platform's authority signed (M(signalbox.platform.certificate), operation
    C(sign_intermediate)). Vault signs with it from then on; what it signed before stays valid.
options:
  operation:
    description: Step to take.
    type: str
    required: true
    choices: [request, set]
  certificate:
    description: O(operation=set); the certificate with the platform's authority after it, in PEM.
    type: str
    default: ""
  common_name:
    description: O(operation=request); name of the authority.
    type: str
    default: Signalbox Vault
  renew_fraction:
    description: O(operation=request); another certificate is needed when less than this part of its life is left.
    type: float
    default: 0.3333
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Tells whether a certificate is needed; makes no key and imports nothing.
  diff_mode:
    support: none
    description: Has nothing to show.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Ask whether Vault needs a certificate as an authority
  signalbox.platform.vault_pki:
    vault_address: https://10.0.0.9:8200
    operation: request
  register: asked

- name: Sign it
  signalbox.platform.certificate:
    operation: sign_intermediate
    host: "{{ inventory_hostname }}"
    signing_requests: "{{ asked.signing_requests }}"
  delegate_to: ca1
  register: signed
  when: asked.signing_requests | length > 0

- name: Give it to Vault
  signalbox.platform.vault_pki:
    vault_address: https://10.0.0.9:8200
    operation: set
    certificate: "{{ signed.certificates['vault-pki'] }}"
  when: asked.signing_requests | length > 0
"""

RETURN = r"""
needed:
  description: Whether another certificate is needed.
  returned: operation request
  type: bool
reason:
  description: Why; empty when none is needed.
  returned: operation request
  type: str
signing_requests:
  description: The request under the name C(vault-pki); empty when none is needed, and in check mode.
  returned: operation request
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_pki as pki
from ansible_collections.signalbox.platform.plugins.module_utils._certificate import CertificateError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import (
    CONNECTION_OPTIONS,
    as_provisioner,
    not_there_yet,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def request(vault, params, check):
    root = pki.authority(params["ca_file"])
    reason = pki.reason_for_another(vault, root, files.utc_now(), params["renew_fraction"]) or ""
    wanted = bool(reason) and not check
    made = {pki.NAME: pki.signing_request(vault, params["common_name"])} if wanted else {}
    return {"changed": bool(reason), "needed": bool(reason), "reason": reason, "signing_requests": made}


def set_certificate(vault, params, check):
    return {"changed": check or pki.set_certificate(vault, params["certificate"])}


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "operation": {"type": "str", "required": True, "choices": ["request", "set"]},
            "certificate": {"type": "str", "default": ""},
            "common_name": {"type": "str", "default": "Signalbox Vault"},
            "renew_fraction": {"type": "float", "default": 0.3333},
        },
        required_if=[("operation", "set", ["certificate"])],
        supports_check_mode=True,
    )
    if not_there_yet(module):
        module.exit_json(changed=True, needed=True, reason="there is none", signing_requests={})
    for library, error in (("hvac", LIBRARY_ERROR), ("cryptography", files.LIBRARY_ERROR)):
        if error:
            module.fail_json(msg=missing_required_lib(library), exception=error)
    operation = request if module.params["operation"] == "request" else set_certificate
    try:
        result = as_provisioner(module, lambda vault: operation(vault, module.params, module.check_mode))
    except (VaultError, CertificateError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
