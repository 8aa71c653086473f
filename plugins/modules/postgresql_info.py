#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_info
short_description: Clusters, free room and state of the PostgreSQL server of a Debian host
description:
  - Reads what a decision about a PostgreSQL host needs in one call, also where PostgreSQL is not installed yet.
version_added: "0.1.0"
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Never changes anything.
options:
  directory:
    description: Where the data is or will be; free room is measured there or at its nearest parent.
    type: path
    default: /var/lib/postgresql
  required_files:
    description: Files that must exist and not be empty.
    type: list
    elements: path
    default: []
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
- name: Look at the host
  signalbox.platform.postgresql_info:
    required_files: [/etc/signalbox/tls/data1.key]
  register: observed
"""

RETURN = r"""
clusters:
  description: Clusters known to Debian's tools.
  returned: always
  type: list
  elements: dict
  sample: [{version: "17", name: main, data_directory: /var/lib/postgresql/17/main}]
available_bytes:
  description: Free room where the data is or will be.
  returned: always
  type: int
total_bytes:
  description: Size of that file system.
  returned: always
  type: int
missing_files:
  description: Which of O(required_files) are missing or empty.
  returned: always
  type: list
  elements: str
server:
  description:
    - The running server; null when none answers. Has version, data_checksums, in_recovery, data_directory and C(empty),
      whether it holds no database yet.
    - C(pending_restart) are the parameters that wait for a restart, each with name, running and configured value, and a
      text for people. C(unread) are the configuration files and O(required_files) newer than its last reload.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import connector
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_server import (
    available_bytes,
    clusters,
    describe,
    missing,
    total_bytes,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None


def server(parameters):
    if psycopg2 is None:
        return None
    try:
        connect = connector(psycopg2, parameters["socket_directory"], parameters["port"])
        return describe(connect, parameters["required_files"])
    except (psycopg2.Error, KeyError):
        return None


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/var/lib/postgresql"},
            "required_files": {"type": "list", "elements": "path", "default": []},
            "socket_directory": {"type": "path", "default": "/run/postgresql"},
            "port": {"type": "int", "default": 5432},
        },
        supports_check_mode=True,
    )
    module.exit_json(
        changed=False,
        clusters=clusters(),
        available_bytes=available_bytes(module.params["directory"]),
        total_bytes=total_bytes(module.params["directory"]),
        missing_files=missing(module.params["required_files"]),
        server=server(module.params),
    )


if __name__ == "__main__":
    main()
