#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_file
short_description: Keep generated secrets in a file encrypted with ansible-vault
version_added: "0.1.0"
description:
  - For teams without a Vault server. Generates every wanted secret that the file does not hold yet, keeps those that
    are there, and never shows a value.
  - Runs on the controller only. The file is encrypted with the vault password ansible was started with; a file that
    exists keeps the password and the vault id it was encrypted with. A file in clear is encrypted.
  - A play that has started does not see values added by it; read the file with M(ansible.builtin.include_vars), or
    start the next playbook. Comments within the file are lost when it is written.
options:
  path:
    description:
      - File on the controller; a relative path counts from the playbook's directory. Written atomically, mode 0600.
    type: str
    required: true
  variable:
    description: Variable in the file that maps scopes to names to values. Other variables in the file are kept.
    type: str
    default: signalbox_secrets
  wanted:
    description:
      - Maps scopes to names to lengths in characters (letters and digits, at least 16), or to a mapping with
        C(generate) and the length, as an app spec has it.
      - An empty mapping, null or 0 stands for a secret that only a person can give; it is reported when it is missing.
    type: dict
    required: true
  vault_id:
    description:
      - Vault id to encrypt a new file with. Unset, it is C(vault_encrypt_identity) of the configuration, then the
        first one.
    type: str
attributes:
  check_mode:
    support: full
    description: Reports what would be generated, writes nothing.
  diff_mode:
    support: full
    description: Shows the names that are added, never a value.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Generate what is missing
  signalbox.platform.secrets_file:
    path: "{{ inventory_dir }}/group_vars/all/secrets.yml"
    wanted:
      agent-api: {API_KEY: 48, SMTP_PASSWORD: {}}
      postgresql: {owner: {generate: 32}}
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
added:
  description: Names generated, or to be in check mode, as scope.name.
  returned: success
  type: list
  elements: str
missing:
  description: Names that a person has to add to the file, as scope.name.
  returned: success
  type: list
  elements: str
encrypted:
  description: Whether a file in clear was encrypted.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "path": {"type": "str", "required": True},
    "variable": {"type": "str", "default": "signalbox_secrets"},
    "wanted": {"type": "dict", "required": True},
    "vault_id": {"type": "str"},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.fail_json(msg="secrets_file works through its action plugin, on the controller")


if __name__ == "__main__":
    main()
