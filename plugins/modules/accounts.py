#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: accounts
short_description: Keep a host's declared user accounts in one call
version_added: "0.1.0"
description:
  - Creates, changes and removes local accounts and creates the groups they need, all in one call.
  - Accounts are created without a usable password. Home directories are created, and never removed.
  - Processes of a removed account are killed, so an open session does not outlive it.
options:
  accounts:
    description: The declared accounts. Accounts that are not declared are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Login name.
        type: str
        required: true
      state:
        description: Whether the account exists.
        type: str
        choices: [present, absent]
        default: present
      groups:
        description:
          - The account's supplementary groups, exactly these. Missing ones are created as system groups.
          - Left out, the groups are not touched.
        type: list
        elements: str
      shell:
        description: Login shell. Left out, it is V(/bin/bash) for a new account and not touched for another.
        type: str
author:
  - Signalbox contributors (@signalbox)
attributes:
  check_mode:
    support: full
    description: Reports the commands that would run.
  diff_mode:
    support: full
    description: Shows shell and groups of the declared accounts.
"""

EXAMPLES = r"""
- name: Keep the operators' accounts
  signalbox.platform.accounts:
    accounts:
      - name: alice
        groups: [adm]
      - name: bob
        state: absent
"""

RETURN = r"""
commands:
  description: The commands that ran, or would run in check mode.
  type: list
  elements: list
  returned: always
  sample: [[useradd, --create-home, --shell, /bin/bash, alice]]
"""

import grp
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._accounts import Account, Wish, describe, plan

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "groups": {"type": "list", "elements": "str"},
    "shell": {"type": "str"},
}


def read_accounts() -> tuple[dict[str, Account], frozenset[str]]:
    members: dict[str, list[str]] = {}
    groups = grp.getgrall()
    for group in groups:
        for name in group.gr_mem:
            members.setdefault(name, []).append(group.gr_name)
    accounts = {
        entry.pw_name: Account(shell=entry.pw_shell, groups=frozenset(members.get(entry.pw_name, [])))
        for entry in pwd.getpwall()
    }
    return accounts, frozenset(group.gr_name for group in groups)


def wish(entry: dict[str, Any]) -> Wish:
    groups = None if entry["groups"] is None else frozenset(entry["groups"])
    return Wish(name=entry["name"], present=entry["state"] == "present", groups=groups, shell=entry["shell"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={"accounts": {"type": "list", "elements": "dict", "required": True, "options": ARGUMENTS}},
        supports_check_mode=True,
    )
    wishes = [wish(entry) for entry in module.params["accounts"]]
    accounts, groups = read_accounts()
    commands = plan(wishes, accounts, groups)
    if not module.check_mode:
        for command in commands:
            if command[0] == "userdel":
                # 1: no process of that user.
                module.run_command(["pkill", "-KILL", "-U", command[-1]])
            code, _out, err = module.run_command(command)
            if code != 0:
                module.fail_json(msg=f"{' '.join(command)} failed: {err.strip()}", commands=commands)
    after = accounts if module.check_mode else read_accounts()[0]
    module.exit_json(
        changed=bool(commands),
        commands=commands,
        diff={"before": describe(wishes, accounts), "after": describe(wishes, after)},
    )


if __name__ == "__main__":
    main()
