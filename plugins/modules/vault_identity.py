#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vault_identity
short_description: Look at a host's identity at Vault, or install a new one
version_added: 1.0.0
author: Signalbox contributors (@signalbox)
description:
  - A host's identity is an AppRole of its own. Its secret id comes response-wrapped from the Vault host
    (M(signalbox.platform.vault_enrol)), is unwrapped on the host itself, proven by a login, and kept only encrypted
    to the host in C(/etc/credstore.encrypted/signalbox-vault-identity).
  - A wrapping token can be unwrapped once. When it was unwrapped before, was made by somebody else than expected, or
    has lain longer than its life, the module fails with an alarm, for somebody else may hold the secret id then; the
    identity that the host had is kept.
options:
  operation:
    description:
      - V(look) proves the identity by a login and says whether a new one is needed. It fails when Vault does not
        answer.
      - V(install) unwraps, proves and seals a new one.
    type: str
    choices: [look, install]
    default: look
  renew:
    description: Whether V(operation=look) asks for a new identity though the present one is good, as a rotation does.
    type: bool
    default: false
  role_id:
    description: Role id as RV(signalbox.platform.vault_enrol#module:role_id) gives it. Needed for O(operation=install).
    type: str
  wrapping_token:
    description: Token that the secret id is wrapped in. Needed for O(operation=install).
    type: str
  creation_path:
    description: Path by which the token must have been made. Needed for O(operation=install).
    type: str
attributes:
  check_mode:
    support: full
    description: O(operation=install) does nothing; a wrapping token could be used once only.
  diff_mode:
    support: none
    description: There is nothing to show.
requirements:
  - role P(signalbox.platform.vault_client#role) on the host
seealso:
  - module: signalbox.platform.vault_check
"""

EXAMPLES = r"""
- name: Look whether the host needs a new identity
  signalbox.platform.vault_identity:
  register: identity

- name: Issue one
  signalbox.platform.vault_enrol:
    vault_address: https://10.0.0.41:8200
    host: "{{ inventory_hostname }}"
  delegate_to: vault1
  register: issued
  no_log: true
  when: identity.needs_enrolment

- name: Install it
  signalbox.platform.vault_identity:
    operation: install
    role_id: "{{ issued.role_id }}"
    wrapping_token: "{{ issued.wrapping_token }}"
    creation_path: "{{ issued.creation_path }}"
  when: identity.needs_enrolment
"""

RETURN = r"""
needs_enrolment:
  description: Whether a new identity is to be installed.
  type: bool
  returned: O(operation=look)
reason:
  description: Why, or why not.
  type: str
  returned: O(operation=look)
secret_id_accessor:
  description: Handle of the secret id, by which the Vault host tells it from the host's older ones.
  type: str
  returned: when there is an identity
age_seconds:
  description: Age of the secret id.
  type: int
  returned: when there is an identity
life_seconds:
  description: Its whole life; 0 has no end.
  type: int
  returned: when there is an identity
remaining_seconds:
  description: What is left of it; null has no end.
  type: int
  returned: when there is an identity
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import (
    SourceError,
    ask_vault,
    judge,
    judge_failure,
)

ARGUMENTS = {
    "operation": {"type": "str", "choices": ["look", "install"], "default": "look"},
    "renew": {"type": "bool", "default": False},
    "role_id": {"type": "str"},
    "wrapping_token": {"type": "str", "no_log": True},
    "creation_path": {"type": "str"},
}
INSTALL = ("role_id", "wrapping_token", "creation_path")


def look(renew: bool) -> dict:
    """Whether the host needs a new identity."""
    try:
        found = judge(ask_vault(["check"], {}), renew)
    except SourceError as error:
        found = judge_failure(error)
    return {**found.facts, "changed": False, "needs_enrolment": found.needs_enrolment, "reason": found.reason}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("operation", "install", INSTALL)], supports_check_mode=True
    )
    try:
        if module.params["operation"] == "look":
            module.exit_json(**look(module.params["renew"]))
        if module.check_mode:
            module.exit_json(changed=True)
        module.exit_json(changed=True, **ask_vault(["enrol"], {name: module.params[name] for name in INSTALL}))
    except SourceError as error:
        module.fail_json(msg=str(error), code=error.code)


if __name__ == "__main__":
    main()
