#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_reload
short_description: Check PostgreSQL's configuration files, reload them and name what waits for a restart
description:
  - Asks the running server whether its configuration files hold mistakes, and refuses to reload them when they do; the
    server then keeps serving with the configuration it has.
  - Reloads the systemd unit, waits until the server has read the files, and returns the parameters that wait for a
    restart.
requirements: [python3-psycopg2]
version_added: "0.1.0"
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Says that it would reload and does not.
options:
  unit:
    description: The systemd unit.
    type: str
    required: true
  timeout_seconds:
    description: How long the server may take to read the files.
    type: int
    default: 30
  socket_directory:
    description: Directory of the server's socket.
    type: path
    default: /run/postgresql
  port:
    description: Port number that is part of the socket's name.
    type: int
    default: 5432
"""

EXAMPLES = r"""
- name: Reload the configuration
  signalbox.platform.postgresql_reload:
    unit: postgresql@17-main
  register: reloaded
"""

RETURN = r"""
pending_restart:
  description: Parameters that wait for a restart, each with name, running and configured value, and a text.
  returned: success
  type: list
  elements: dict
mistakes:
  description: What the server says about its configuration files.
  returned: when the files hold mistakes
  type: list
  elements: str
"""

import time
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import connector
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_server import (
    check_command,
    configuration_mistakes,
    load_time,
    pending_restart,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None
    PSYCOPG2_ERROR = traceback.format_exc()
else:
    PSYCOPG2_ERROR = None


def start_mistakes(module, connect):
    """What a start would refuse. The server must not run as root, nor does its check."""
    command = check_command(connect)
    code, _output, error = module.run_command(["runuser", "-u", "postgres", "--", *command], cwd="/")
    return error.strip().splitlines() if code != 0 else []


def reload_and_wait(module, connect):
    before = load_time(connect)
    unit, seconds = module.params["unit"], module.params["timeout_seconds"]
    code, _output, error = module.run_command(["systemctl", "reload", unit])
    if code != 0:
        module.fail_json(msg=f"systemctl reload {unit} failed: {error.strip()}; see journalctl --unit {unit}")
    deadline = time.monotonic() + seconds
    while load_time(connect) == before:
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"PostgreSQL did not read its configuration within {seconds} s; see journalctl --unit {unit}"
            )
        time.sleep(0.1)


def main():
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "timeout_seconds": {"type": "int", "default": 30},
            "socket_directory": {"type": "path", "default": "/run/postgresql"},
            "port": {"type": "int", "default": 5432},
        },
        supports_check_mode=True,
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=PSYCOPG2_ERROR)
    connect = connector(psycopg2, module.params["socket_directory"], module.params["port"])
    try:
        mistakes = configuration_mistakes(connect) + start_mistakes(module, connect)
        if mistakes:
            message = "PostgreSQL was not reloaded and serves on as before; mend its configuration: " + "; ".join(
                mistakes
            )
            module.fail_json(msg=message, mistakes=mistakes)
        if not module.check_mode:
            reload_and_wait(module, connect)
        module.exit_json(changed=True, pending_restart=pending_restart(connect))
    except psycopg2.Error as error:
        module.fail_json(msg=f"PostgreSQL did not answer on its socket: {str(error).strip()}")


if __name__ == "__main__":
    main()
