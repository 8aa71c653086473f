#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: slot_info
short_description: Read the slots that run on a host
version_added: 1.0.0
author: Signalbox contributors (@signalbox)
description:
  - Lists the containers of all slots on one host, running or not. Never changes anything.
  - A host without a container engine, or whose engine does not answer, is reported by RV(error); the module does not
    fail, since a status must be readable on a bad day.
options:
  engine_socket:
    description: Socket of the container engine.
    type: path
    default: /run/docker.sock
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
seealso:
  - module: signalbox.platform.slot
"""

EXAMPLES = r"""
- name: Read the slots of this host
  signalbox.platform.slot_info:
  register: slots_found
"""

RETURN = r"""
slots:
  description: Mapping of app to slot to its container, as module C(slot) reports it.
  type: dict
  returned: always
  sample: {agent-api: {blue: {version: 1.4.0, status: running, restart_count: 0}}}
error:
  description: Why the engine could not be asked; empty when it answered.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._compose import LABEL
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine, EngineError


def slots_of(engine: Engine) -> dict:
    """All slots of the host, by app."""
    found: dict = {}
    for identifier in engine.containers_with({f"{LABEL}.managed": "true", f"{LABEL}.kind": "slot"}):
        container = engine.container(identifier)
        if container is not None:  # else it was removed in between
            labels = container.labels
            found.setdefault(labels[f"{LABEL}.app"], {})[labels[f"{LABEL}.slot"]] = container.report()
    return found


def main() -> None:
    module = AnsibleModule({"engine_socket": {"type": "path", "default": "/run/docker.sock"}}, supports_check_mode=True)
    try:
        slots, error = slots_of(Engine(module.params["engine_socket"], timeout_seconds=5)), ""
    except EngineError as refused:
        slots, error = {}, str(refused)
    module.exit_json(changed=False, slots=slots, error=error)


if __name__ == "__main__":
    main()
