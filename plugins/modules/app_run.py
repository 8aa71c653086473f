#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_run
short_description: Run one command in a container of an app's image
version_added: 1.0.0
author: Signalbox contributors (@signalbox)
description:
  - Runs a command such as a migration in a container that is as hardened as a slot, and removes it afterwards.
  - The environment is mounted from tmpfs for as long as the run lasts, as with M(signalbox.platform.slot); it is in
    no command line and not in C(docker inspect).
  - A run that was killed on the controller's side may leave its container behind. The next run with the same O(app)
    and O(name) stops and removes it first.
  - The module fails when the command does, with the last lines of its output.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  name:
    description: Name of the task, which tells its runs from those of other tasks of the app.
    type: str
    default: task
  image:
    description: Image by digest, C(repository@sha256:...). It is pulled when missing.
    type: str
    required: true
  command:
    description: Arguments for the image's entry point, or for O(entrypoint). Empty runs what the image itself would.
    type: list
    elements: str
    default: []
  entrypoint:
    description: Command line in place of the image's own entry point; an empty list makes O(command) the whole
      command line.
    type: list
    elements: str
  network:
    description: Network of the engine to attach to; V(none) for no network.
    type: str
    default: bridge
  timeout_seconds:
    description: Time after which the container is stopped (SIGTERM, ten seconds later SIGKILL) and the module fails.
    type: float
    default: 600
  changes:
    description: Whether the command changes anything. With V(false) the task reports no change and runs in check
      mode too.
    type: bool
    default: true
  kept_bytes:
    description: How much of the end of standard output, and of standard error, is returned.
    type: int
    default: 65536
extends_documentation_fragment: [signalbox.platform.container, signalbox.platform.image]
attributes:
  check_mode:
    support: full
    description: Nothing runs, unless O(changes=false).
  diff_mode:
    support: none
    description: What a command changes is not known.
requirements:
  - Docker Engine 20.10 or newer
seealso:
  - module: signalbox.platform.slot
"""

EXAMPLES = r"""
- name: Migrate the database in the new image
  signalbox.platform.app_run:
    app: agent-api
    name: migrate
    image: registry.example.com:5000/agent-api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    entrypoint: []
    command: [alembic, upgrade, head]
    environment:
      DATABASE_URL: "{{ agent_api_owner_database_url }}"
    timeout_seconds: 600

- name: Ask which revision the database has
  signalbox.platform.app_run:
    app: agent-api
    name: revision
    image: registry.example.com:5000/agent-api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    entrypoint: []
    command: [alembic, current]
    environment:
      DATABASE_URL: "{{ agent_api_owner_database_url }}"
    changes: false
  register: revision
"""

RETURN = r"""
rc:
  description: Exit code of the command; 125 and above may be the engine's (see its documentation).
  type: int
  returned: when it ran
stdout:
  description: The last O(kept_bytes) of its standard output, without secret values.
  type: str
  returned: when it ran
stderr:
  description: The last O(kept_bytes) of its standard error, without secret values.
  type: str
  returned: when it ran
timed_out:
  description: Whether the time limit ended it.
  type: bool
  returned: when it ran
seconds:
  description: How long it took.
  type: float
  returned: when it ran
leftovers:
  description: Ids of containers of earlier, killed runs that were removed.
  type: list
  elements: str
  returned: when it ran
container_name:
  description: Name of the container, to look for in the journal.
  type: str
  returned: when it ran
pulled:
  description: Whether the image had to be pulled.
  type: bool
  returned: when it ran
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._compose import Resources
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import normalise
from ansible_collections.signalbox.platform.plugins.module_utils._container_module import (
    RUN_FAILURES,
    RUN_OPTIONS,
    delivered,
    end_on_signals,
    guard,
    one_shot_of,
    puller_of,
    redacted,
    told,
)
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine
from ansible_collections.signalbox.platform.plugins.module_utils._image_pull import images_held
from ansible_collections.signalbox.platform.plugins.module_utils._one_shot import (
    Ended,
    OneShot,
    execute,
    explain,
    files_for,
    last_lines,
    remove_leftovers,
)

ARGUMENTS = {
    **RUN_OPTIONS,
    "name": {"type": "str", "default": "task"},
    "command": {"type": "list", "elements": "str", "default": []},
    "entrypoint": {"type": "list", "elements": "str"},
    "network": {"type": "str", "default": "bridge"},
    "changes": {"type": "bool", "default": True},
    "kept_bytes": {"type": "int", "default": OneShot.kept_bytes},
}


def run(module: AnsibleModule) -> tuple[Ended, dict]:
    """Run the command once."""
    engine = Engine(module.params["engine_socket"])
    environment = delivered(module, normalise(module.params["environment"]))
    limits, _root = engine.info()
    resources, warnings = limits.allow(Resources(**module.params["resources"]))
    given = module.params
    one_shot = one_shot_of(given, resources, given["name"], given["entrypoint"], given["network"], given["kept_bytes"])
    with images_held():
        image, pulled = puller_of(module, engine).ensure(one_shot.image)
        leftovers = remove_leftovers(engine, one_shot)
        with files_for(one_shot, environment):
            ended = execute(engine, one_shot, image, module.params["timeout_seconds"])
    for warning in warnings:
        module.warn(warning)
    return ended, {"leftovers": leftovers, "container_name": one_shot.container, "pulled": pulled}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    invocation = guard(module)
    changes = module.params["changes"]
    if module.check_mode and changes:
        module.exit_json(changed=True, msg="not run in check mode", invocation=invocation)
    end_on_signals()
    try:
        ended, rest = run(module)
    except RUN_FAILURES as error:
        module.fail_json(msg=f"{module.params['app']}: {module.params['name']}: {error}", invocation=invocation)
    ended = redacted(ended, module.no_log_values)
    result = {**told(ended), **rest}
    if ended.code != 0 or ended.timed_out:
        reason = explain(ended, module.params["timeout_seconds"])
        message = f"{rest['container_name']} {reason}. The end of its output:\n{last_lines(ended)}"
        module.fail_json(msg=message, changed=changes, invocation=invocation, **result)
    module.exit_json(changed=changes, invocation=invocation, **result)


if __name__ == "__main__":
    main()
