#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: access_guard
short_description: Change SSH and firewall without locking the operator out
version_added: "0.1.0"
description:
  - Observes how a host is reached, loads changed SSH and firewall files, and keeps the last files a login was proven
    with.
  - V(apply) starts a timer on the host that puts the proven files back, and then loads the new ones. V(confirm), run
    through a new login, cancels the timer and takes the new files as proven.
  - The first V(observe) takes the present files as proven, as the connection it runs over is a login.
options:
  operation:
    description:
      - V(observe) reports the host and whether its files wait to be applied. It never changes how the host is reached.
      - V(apply) loads the files, with a timer of O(seconds).
      - V(confirm) cancels the timer, and fails when it has run already.
    type: str
    choices: [observe, apply, confirm]
    default: observe
  paths:
    description: Absolute paths of the files and directories that decide how the host is reached.
    type: list
    elements: path
    required: true
  seconds:
    description:
      - With V(apply), the seconds after which the old files come back unless V(confirm) ran.
      - V(0) applies for good, for connections that depend neither on SSH nor on the firewall.
    type: int
    default: 60
  restore:
    description: Program on the host that puts the proven files back.
    type: path
    default: /usr/local/libexec/signalbox/access-restore
  directory:
    description: Where the proven files are kept.
    type: path
    default: /var/lib/signalbox/access
  units:
    description: With V(observe), the systemd units to report.
    type: list
    elements: str
    default: []
  hosts_marker:
    description: With V(observe), the text that marks a managed block in C(/etc/hosts).
    type: str
    default: SIGNALBOX
author:
  - Signalbox contributors (@signalbox)
attributes:
  check_mode:
    support: full
    description: V(apply) and V(confirm) only report that they would run; V(observe) keeps no copy.
  diff_mode:
    support: none
    description: The files are shown by whatever writes them.
"""

EXAMPLES = r"""
- name: Observe the host
  signalbox.platform.access_guard:
    paths: [/etc/ssh/sshd_config.d/00-signalbox.conf]
  register: observed

- name: Load the new files
  signalbox.platform.access_guard:
    operation: apply
    paths: [/etc/ssh/sshd_config.d/00-signalbox.conf]
    seconds: 60

- name: Log in anew
  ansible.builtin.wait_for_connection:
    timeout: 20

- name: Keep the new files
  signalbox.platform.access_guard:
    operation: confirm
    paths: [/etc/ssh/sshd_config.d/00-signalbox.conf]
"""

RETURN = r"""
host:
  description:
    - C(os) with C(id) and C(version), and C(container), the kind of container or empty.
    - C(user) and C(user_keys), the login this connection came by and the number of its authorized keys.
    - C(client) with C(address) and C(port) of the SSH connection, otherwise empty.
    - C(can_set_time); C(hosts_mounted) and C(hosts_block) about C(/etc/hosts); C(programs) found;
      C(units), each with C(load), C(enabled) and C(active).
    - C(firewall_loaded), and C(sshd), the effective settings, each a list.
  type: dict
  returned: always
pending:
  description: Whether the files differ from the proven ones, or the firewall is not loaded as its file says.
  type: bool
  returned: always
"""


from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._access_host import AccessError, Guard, Host

OPERATIONS = ("observe", "apply", "confirm")


def operate(guard: Guard, operation: str, seconds: int) -> None:
    if operation == "apply":
        if seconds:
            guard.arm(seconds)
        guard.apply()
        if not seconds:
            guard.keep()
    elif operation == "confirm":
        guard.confirm()
    elif guard.first():
        guard.keep()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": list(OPERATIONS), "default": "observe"},
            "paths": {"type": "list", "elements": "path", "required": True},
            "seconds": {"type": "int", "default": 60},
            "restore": {"type": "path", "default": "/usr/local/libexec/signalbox/access-restore"},
            "directory": {"type": "path", "default": "/var/lib/signalbox/access"},
            "units": {"type": "list", "elements": "str", "default": []},
            "hosts_marker": {"type": "str", "default": "SIGNALBOX"},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        code, out, err = module.run_command(command, handle_exceptions=False)
        return code, out, err

    guard = Guard(run, module.params["paths"], module.params["directory"], module.params["restore"])
    try:
        if not module.check_mode:
            operate(guard, module.params["operation"], module.params["seconds"])
        host = Host(run).observe(module.params["units"], module.params["hosts_marker"])
    except (AccessError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=module.params["operation"] == "apply",
        host=host,
        pending=guard.pending() or not host["firewall_loaded"],
    )


if __name__ == "__main__":
    main()
