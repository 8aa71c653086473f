#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sealed_credential
short_description: Keep a secret as a credential that opens on one host only
version_added: "0.1.0"
description:
  - Encrypts a value with C(systemd-creds) to the host's own key. A unit reads it with C(LoadCredentialEncrypted=), a
    program of root's with C(systemd-creds decrypt).
  - The value is compared with the one that is kept, so that a second run changes nothing. The task must have C(no_log).
options:
  path:
    description: The encrypted file; its name is the credential's.
    type: path
    required: true
  value:
    description: The secret, in UTF-8. In check mode it may be empty, for what a first run has yet to make.
    type: str
    required: true
  replace:
    description: Whether another value may take the place of the one that is kept. Otherwise it is refused.
    type: bool
    default: true
  hint:
    description: What to do about a refusal, for its message.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Tells whether it would be sealed.
  diff_mode:
    support: none
    description: A secret is never shown.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Keep the passphrase of the backup repository
  signalbox.platform.sealed_credential:
    path: /etc/credstore.encrypted/signalbox-backup-cipher
    value: "{{ pgbackrest_cipher_passphrase }}"
    replace: false
    hint: Give the passphrase that the repository was made with.
  no_log: true
  diff: false
"""

RETURN = r""" # """

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._sealed import SealError, seal, unseal


def work(module):
    """Whether the credential was sealed, or would be."""
    path, value = module.params["path"], module.params["value"].encode()
    if not value and not module.check_mode:
        raise SealError("value: is empty")
    found = unseal(module, path) if os.path.exists(path) else None
    if found == value or (found is not None and not value):
        return False
    if found is not None and not module.params["replace"]:
        raise SealError(f"{path} keeps another value and is not replaced")
    if not module.check_mode:
        seal(module, path, value)
    return True


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "value": {"type": "str", "required": True, "no_log": True},
            "replace": {"type": "bool", "default": True},
            "hint": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=work(module))
    except SealError as error:
        module.fail_json(msg=f"{error}. {module.params['hint']}".strip())


if __name__ == "__main__":
    main()
