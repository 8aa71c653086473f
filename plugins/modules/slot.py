#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: slot
short_description: Run, stop or remove one slot of an app on one host
version_added: 1.0.0
author: Signalbox contributors (@signalbox)
description:
  - A slot is the container of one release of an app on one host. It runs by image digest through C(docker compose),
    with a read-only root file system, no capabilities, no new privileges, limits, an init process and
    C(restart unless-stopped).
  - Nothing happens when the container runs as wanted. A stopped container that is as wanted is started again, which
    takes a moment.
  - O(environment) is written to C(/run/signalbox/apps/<app>/<slot>.env) (tmpfs, directories for root alone) and mounted
    into the container, where a small script exports it and becomes the app. It is in neither the compose file,
    C(docker inspect), the engine's state on disk nor a command line. A copy encrypted with the host's key lets the slot
    start at boot without a secret store.
  - Values of O(environment) of eight characters or more are struck out of the module's output, unless they are part
    of other parameters.
  - With O(secret_sources) the module asks Vault before it touches the container, and fails with the reason when Vault
    does not answer. A slot that is taken over with O(reuse), stopped or removed needs no Vault.
  - Limits that the kernel cannot enforce (no cgroup controller) are left out with a warning.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  slot:
    description: Which slot.
    type: str
    choices: [blue, green]
    required: true
  state:
    description:
      - V(started) pulls the image when it is missing and runs the container.
      - V(stopped) stops the container and keeps it for a warm start.
      - V(absent) removes the container, its network and its files.
    type: str
    choices: [started, stopped, absent]
    default: started
  image:
    description: Image by digest, C(repository@sha256:...). Needed for O(state=started).
    type: str
  version:
    description: Version of the release, for labels and reports. Needed for O(state=started).
    type: str
  keep_seconds:
    description:
      - How long the sealed copy may be used for a start without Vault; 0 is without end. When not given, a week with
        O(secret_sources) and without end otherwise.
      - Whoever is root on the host can set this limit aside; it makes a host that was forgotten ask again.
    type: int
  bind_address:
    description: Address of this host on which the container's port is published. V(0.0.0.0) and V(::) are refused.
      Needed for O(state=started).
    type: str
  host_port:
    description: Published port. Needed for O(state=started).
    type: int
  container_port:
    description: Port the app listens on inside the container; O(host_port) when not given.
    type: int
  extra_hosts:
    description: Host names the container resolves to given addresses.
    type: dict
    default: {}
  engine_environment:
    description:
      - Give the environment to the engine (compose's C(env_file)) instead of mounting it. Only for images without
        C(/bin/sh); the values then
        show in C(docker inspect) and lie on the host's disk in clear.
    type: bool
    default: false
  seal_environment:
    description: Keep a copy of the environment encrypted to this host (C(systemd-creds)), from which it is restored
      at boot.
    type: bool
    default: true
  reuse:
    description:
      - Take a container of the same image as it is, though environment or settings have changed since. For a rollback,
        which returns to what was known to be good, and must not touch a slot that still has streams in flight.
    type: bool
    default: false
  keep_image:
    description: Whether O(state=absent) keeps the image.
    type: bool
    default: true
  stop_timeout_seconds:
    description: Time between SIGTERM and SIGKILL.
    type: int
    default: 30
extends_documentation_fragment: [signalbox.platform.container, signalbox.platform.image]
attributes:
  check_mode:
    support: full
    description: Reports what would be done; nothing is pulled or written.
  diff_mode:
    support: full
    description: Shows the compose file, and of the environment the names only.
requirements:
  - Docker Engine 20.10 or newer with the compose plugin 2.20 or newer
  - systemd 252 or newer for O(seal_environment)
  - role P(signalbox.platform.vault_client#role) on the host, for O(secret_sources)
seealso:
  - module: signalbox.platform.image_info
  - module: signalbox.platform.health_verify
"""

EXAMPLES = r"""
- name: Start the release in the idle slot
  signalbox.platform.slot:
    app: agent-api
    slot: green
    image: registry.example.com:5000/agent-api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    version: 1.4.0
    environment:
      DATABASE_URL: "{{ agent_api_database_url }}"
    bind_address: 10.0.0.11
    host_port: 54001
    container_port: 54000
    mounts:
      - source: /etc/signalbox/tls/ca.crt
        target: /etc/signalbox/ca.crt
    registry:
      address: registry.example.com:5000
      username: deploy
      password: "{{ registry_password }}"

- name: Start it with secrets that the host fetches from Vault by itself
  signalbox.platform.slot:
    app: agent-api
    slot: green
    image: registry.example.com:5000/agent-api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    version: 1.4.0
    environment:
      API_KEY: ${signalbox:API_KEY}
      DATABASE_URL: postgresql://agent_api_green:${signalbox:url:database_green}@10.0.0.31:5432/agent_api
    secret_sources:
      API_KEY: {kind: kv, path: apps/agent-api/secrets, key: API_KEY}
      database_green: {kind: database, role: agent_api_green}
    bind_address: 10.0.0.11
    host_port: 54001

- name: Stop the old slot, kept warm for a rollback
  signalbox.platform.slot:
    app: agent-api
    slot: blue
    state: stopped
"""

RETURN = r"""
action:
  description: What was done, or in check mode would be.
  type: str
  returned: success
  sample: replace
reason:
  description: Why.
  type: str
  returned: success
container_id:
  description: Id of the slot's container; empty when there is none.
  type: str
  returned: success
started:
  description: Whether the container runs. Health is another question, see M(signalbox.platform.health_verify).
  type: bool
  returned: success
container:
  description: The container now.
  type: dict
  returned: success
  contains: &container
    container_id: {description: Id., type: str}
    image: {description: Image by digest., type: str}
    version: {description: Version of the release., type: str}
    status: {description: The engine's state of it., type: str}
    exit_code: {description: Exit code of its last end., type: int}
    oom_killed: {description: Whether the kernel killed it for want of memory., type: bool}
    restart_count: {description: Restarts by the engine., type: int}
    started_at: {description: Time of its last start., type: str}
    error: {description: The engine's error at its last start., type: str}
previous:
  description: The container before; null when there was none.
  type: dict
  returned: success
  contains: *container
pulled:
  description: Whether the image had to be pulled.
  type: bool
  returned: success
environment:
  description: Names of variables that were added, removed or changed.
  type: dict
  returned: O(state=started)
  sample: {added: [REDIS_URL], removed: [], changed: [DATABASE_URL]}
milliseconds:
  description: Time spent per step.
  type: dict
  returned: success
  sample: {image: 4, seal: 31, start: 640}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._compose import Mount, Paths, Resources, Slot
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import (
    InvalidEnvironment,
    normalise,
)
from ansible_collections.signalbox.platform.plugins.module_utils._container_module import (
    MOUNT_OPTIONS,
    REGISTRY_OPTIONS,
    RESOURCE_OPTIONS,
    delivered,
    guard,
    puller_of,
    runner_of,
)
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine, EngineError
from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import HOST_VAULT, SourceError
from ansible_collections.signalbox.platform.plugins.module_utils._image_pull import ImageError, images_held
from ansible_collections.signalbox.platform.plugins.module_utils._image_reference import InvalidReference, parse_pinned
from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import UnfilledPlaceholder
from ansible_collections.signalbox.platform.plugins.module_utils._slot_files import Keeping, SealError, SlotFiles
from ansible_collections.signalbox.platform.plugins.module_utils._slot_keeper import (
    Keeper,
    Outcome,
    SlotError,
    diff_of,
    result_of,
)

# How long a host may start a slot without asking Vault, where nothing else is said.
WEEK_SECONDS = 604800

ARGUMENTS = {
    "app": {"type": "str", "required": True},
    "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
    "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
    "image": {"type": "str"},
    "version": {"type": "str"},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "secret_sources": {"type": "dict", "default": {}, "no_log": False},
    "keep_seconds": {"type": "int", "no_log": False},
    "bind_address": {"type": "str"},
    "host_port": {"type": "int"},
    "container_port": {"type": "int"},
    "resources": {"type": "dict", "default": {}, "options": RESOURCE_OPTIONS, "apply_defaults": True},
    "mounts": {"type": "list", "elements": "dict", "default": [], "options": MOUNT_OPTIONS},
    "temporary": {"type": "list", "elements": "str", "default": ["/tmp"]},  # noqa: S108  of the container
    "extra_hosts": {"type": "dict", "default": {}},
    "read_only": {"type": "bool", "default": True},
    "user": {"type": "str", "default": ""},
    "engine_environment": {"type": "bool", "default": False},
    "seal_environment": {"type": "bool", "default": True},
    "registry": {"type": "dict", "options": REGISTRY_OPTIONS},
    "pull_attempts": {"type": "int", "default": 4},
    "minimum_free_bytes": {"type": "int", "default": 1073741824},
    "image_download_bytes": {"type": "int", "default": 0},
    "reuse": {"type": "bool", "default": False},
    "keep_image": {"type": "bool", "default": True},
    "stop_timeout_seconds": {"type": "int", "default": 30},
    "engine_socket": {"type": "path", "default": "/run/docker.sock"},
}


FAILURES = (
    EngineError,
    ImageError,
    InvalidEnvironment,
    InvalidReference,
    SealError,
    SlotError,
    UnfilledPlaceholder,
)


def slot_of(parameters: dict) -> Slot:
    """The wanted slot, checked."""
    parse_pinned(parameters["image"])
    if parameters["bind_address"] in ("0.0.0.0", "::", "*", ""):  # noqa: S104  refused
        raise SlotError(
            "bind_address must be one address of this host: a port published on all of them bypasses the firewall"
        )
    return Slot(
        app=parameters["app"],
        slot=parameters["slot"],
        image=parameters["image"],
        version=parameters["version"],
        bind_address=parameters["bind_address"],
        host_port=parameters["host_port"],
        container_port=parameters["container_port"] or parameters["host_port"],
        resources=Resources(**parameters["resources"]),
        mounts=tuple(Mount(**mount) for mount in parameters["mounts"]),
        temporary=tuple(parameters["temporary"]),
        extra_hosts=parameters["extra_hosts"],
        read_only=parameters["read_only"],
        user=parameters["user"],
        stop_timeout_seconds=parameters["stop_timeout_seconds"],
        engine_environment=parameters["engine_environment"],
    )


def keeping_of(parameters: dict, template: dict) -> Keeping | None:
    """How the environment is kept for the next boot."""
    if not parameters["seal_environment"]:
        return None
    sources, seconds = parameters["secret_sources"], parameters["keep_seconds"]
    if seconds is None:
        seconds = WEEK_SECONDS if sources else 0
    return Keeping(seconds, sources, template if sources else {})


def act(keeper: Keeper, module: AnsibleModule) -> Outcome:
    """Bring the slot to the wanted state."""
    parameters = module.params
    name = f"{parameters['app']}-{parameters['slot']}"
    if parameters["state"] == "stopped":
        return keeper.stopped(name, parameters["stop_timeout_seconds"])
    if parameters["state"] == "absent":
        return keeper.absent(name, parameters["stop_timeout_seconds"], parameters["keep_image"])
    if parameters["reuse"]:
        warm = keeper.warm(name, parameters["image"].partition("@")[2])
        if warm is not None:
            return warm
    slot, template = slot_of(parameters), normalise(parameters["environment"])
    environment = delivered(module, template)
    with images_held():
        return keeper.started(slot, environment, keeping_of(parameters, template))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "started", ["image", "version", "bind_address", "host_port"])],
        supports_check_mode=True,
    )
    invocation = guard(module)
    engine = Engine(module.params["engine_socket"])
    run = runner_of(module)
    keeper = Keeper(
        engine=engine,
        files=SlotFiles(Paths(module.params["app"], module.params["slot"])),
        puller=puller_of(module, engine),
        run=lambda command: run(command, {}),
        check_mode=module.check_mode,
    )
    try:
        outcome = act(keeper, module)
    except SourceError as error:
        if module.check_mode and not os.path.exists(HOST_VAULT):
            module.exit_json(changed=True, invocation=invocation, warnings=[f"{error}."])
        reason = (
            f"{module.params['app']}-{module.params['slot']} was not touched: its secrets cannot be fetched. {error}"
        )
        module.fail_json(msg=reason, invocation=invocation)
    except FAILURES as error:
        if module.check_mode and isinstance(error, EngineError) and error.status == 0:
            module.exit_json(changed=True, invocation=invocation, warnings=[f"{error}. A first run installs it."])
        module.fail_json(msg=str(error), invocation=invocation)
    result = result_of(outcome)
    if module._diff:
        result["diff"] = diff_of(outcome)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(invocation=invocation, **result)


if __name__ == "__main__":
    main()
