#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vault_check
short_description: Prove that a host can read its secrets from Vault
version_added: 1.0.0
author: Signalbox contributors (@signalbox)
description:
  - Logs in to Vault with the host's own identity, reads every one of O(secret_sources) and forgets the values. A
    release does so before it touches anything.
  - The message of a failure tells a server that is sealed, does not answer, has an expired certificate or answers
    nothing but errors from an identity that was refused, a policy that lacks a path, and secrets that have no value;
    the latter are all named at once.
options:
  secret_sources:
    description: Name to source, as the filter P(signalbox.platform.secret_sources#filter) gives it.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: Changes nothing.
requirements:
  - role P(signalbox.platform.vault_client#role) on the host
seealso:
  - module: signalbox.platform.slot
  - module: signalbox.platform.vault_identity
"""

EXAMPLES = r"""
- name: Prove that the idle slot's secrets can be read
  signalbox.platform.vault_check:
    secret_sources: "{{ release_app | signalbox.platform.secret_sources('green') }}"
"""

RETURN = r"""
readable:
  description: Names of the secrets that were read.
  type: list
  elements: str
  returned: success
remaining_seconds:
  description: What is left of the life of the host's identity; null has no end.
  type: int
  returned: success
renewal_due:
  description: Whether less than a third of it is left.
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import SourceError, ask_vault


def main() -> None:
    """Run the module."""
    arguments = {"secret_sources": {"type": "dict", "default": {}, "no_log": False}}
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    try:
        answer = ask_vault(["check", "--sources"], module.params["secret_sources"])
    except SourceError as error:
        module.fail_json(msg=str(error), code=error.code)
    names = ("readable", "remaining_seconds", "renewal_due")
    module.exit_json(changed=False, **{name: answer[name] for name in names})


if __name__ == "__main__":
    main()
