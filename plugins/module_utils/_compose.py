# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A slot as a compose project: what is wanted, how it is written down, and what has to be done to get there.

The same image runs as a slot for weeks or as a one-shot container for seconds; both are hardened alike.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

LABEL = "signalbox.platform"

# Where a container finds its environment and the script that loads it. Not below /run/secrets: images may have that.
ENVIRONMENT_TARGET = "/run/signalbox/environment"
ENTRY_TARGET = "/run/signalbox/entry"

# Values mounted as a file are in neither `docker inspect` nor the engine's state on disk; those of env_file are in
# both.
ENTRY_SCRIPT = f"""#!/bin/sh
# Loads the environment that the platform mounts and becomes the app.
set -a
. {ENVIRONMENT_TARGET}
set +a
exec "$@"
"""


@dataclasses.dataclass(frozen=True)
class Mount:
    """One file or directory of the host, read-only in the container."""

    source: str
    target: str


@dataclasses.dataclass(frozen=True)
class Resources:
    """Limits of one container; 0 or empty is none."""

    cpus: float = 1.0
    memory: str = "512m"
    pids: int = 512


@dataclasses.dataclass(frozen=True)
class EngineLimits:
    """Which limits the host's kernel can enforce: the engine refuses some of the others."""

    cpus: bool = True
    memory: bool = True
    pids: bool = True

    def allow(self, wanted: Resources) -> tuple[Resources, list[str]]:
        """Limits to ask for, and a warning for each that has to be left out."""
        missing = [name for name in ("cpus", "memory", "pids") if getattr(wanted, name) and not getattr(self, name)]
        warnings = [
            f"The kernel enforces no {name} limit for containers (cgroup controller missing); it is left out."
            for name in missing
        ]
        return dataclasses.replace(wanted, **{name: type(getattr(wanted, name))() for name in missing}), warnings


@dataclasses.dataclass(frozen=True)
class Command:
    """What the image itself would run."""

    entrypoint: Sequence[str] = ()
    arguments: Sequence[str] = ()

    @property
    def argv(self) -> list[str]:
        """Entry point and arguments as one command line."""
        return [*self.entrypoint, *self.arguments]


@dataclasses.dataclass(frozen=True)
class Paths:
    """Files of one slot. Those below /run are gone after a boot, and come back from the sealed copy."""

    app: str
    slot: str
    state_directory: str = "/var/lib/signalbox/apps"
    secret_directory: str = "/run/signalbox/apps"  # noqa: S105  a path

    @property
    def directory(self) -> str:
        """Directory of what outlives a boot."""
        return f"{self.state_directory}/{self.app}/{self.slot}"

    @property
    def compose(self) -> str:
        """The compose file; it holds no secret."""
        return f"{self.directory}/compose.json"

    @property
    def entry(self) -> str:
        """The script that loads the environment."""
        return f"{self.directory}/entry"

    @property
    def sealed(self) -> str:
        """The environment, encrypted to this host."""
        return f"{self.directory}/environment.sealed"

    @property
    def sources(self) -> str:
        """Where the environment's secrets come from, and how long the sealed copy may be used; no value."""
        return f"{self.directory}/environment.sources"

    @property
    def template(self) -> str:
        """The environment with placeholders for what comes from its sources, encrypted to this host."""
        return f"{self.directory}/environment.template"

    @property
    def environment(self) -> str:
        """The environment in clear, on tmpfs."""
        return f"{self.secret_directory}/{self.app}/{self.slot}.env"

    @property
    def compose_environment(self) -> str:
        """The environment in compose's own quoting, for images without a shell."""
        return f"{self.secret_directory}/{self.app}/{self.slot}.compose.env"


@dataclasses.dataclass(frozen=True)
class Slot:
    """Everything that decides what one slot's container is."""

    app: str
    slot: str
    image: str
    version: str
    bind_address: str
    host_port: int
    container_port: int
    resources: Resources = Resources()
    mounts: Sequence[Mount] = ()
    temporary: Sequence[str] = ("/tmp",)  # noqa: S108  of the container
    extra_hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    read_only: bool = True
    user: str = ""
    stop_timeout_seconds: int = 30
    engine_environment: bool = False

    @property
    def name(self) -> str:
        """Name of container and compose project."""
        return f"{self.app}-{self.slot}"


def _bind(source: str, target: str) -> dict[str, Any]:
    # Without create_host_path: false a missing file would become a directory on the host.
    return {"type": "bind", "source": source, "target": target, "read_only": True, "bind": {"create_host_path": False}}


def _mounts(mounts: Sequence[Mount], paths: Paths, engine_environment: bool) -> list[dict[str, Any]]:
    binds = [_bind(mount.source, mount.target) for mount in mounts]
    if not engine_environment:
        binds += [_bind(paths.environment, ENVIRONMENT_TARGET), _bind(paths.entry, ENTRY_TARGET)]
    return binds


def _limits(resources: Resources) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if resources.cpus:
        limits["cpus"] = resources.cpus
    if resources.memory:
        # No swap on top: a leaking app is to be killed, not to slow the host down.
        limits.update(mem_limit=resources.memory, memswap_limit=resources.memory)
    if resources.pids:
        limits["pids_limit"] = resources.pids
    return limits


def _escape(value: Any) -> Any:
    """Double every `$`: compose would take it for a variable."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escape(item) for item in value]
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    return value


def service_of(slot: Slot, paths: Paths, command: Command) -> dict[str, Any]:
    """The slot's container in compose's words."""
    service: dict[str, Any] = {
        "image": slot.image,
        "pull_policy": "never",
        "container_name": slot.name,
        "ports": [
            {
                "mode": "ingress",
                "protocol": "tcp",
                "host_ip": slot.bind_address,
                "published": str(slot.host_port),
                "target": slot.container_port,
            }
        ],
        "volumes": _mounts(slot.mounts, paths, slot.engine_environment),
        "tmpfs": [f"{path}:mode=1777,nosuid,nodev" for path in slot.temporary],
        "read_only": slot.read_only,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": "unless-stopped",
        "stop_grace_period": f"{slot.stop_timeout_seconds}s",
        **_limits(slot.resources),
    }
    if slot.engine_environment:
        service["env_file"] = [paths.compose_environment]
    else:
        service.update(entrypoint=["/bin/sh", ENTRY_TARGET], command=command.argv)
    if slot.extra_hosts:
        service["extra_hosts"] = [f"{name}={address}" for name, address in sorted(slot.extra_hosts.items())]
    if slot.user:
        service["user"] = slot.user
    return service


def fingerprint(service: Mapping[str, Any], environment: Mapping[str, str], key: bytes) -> str:
    """What a container was made from. Keyed: labels are readable, and a bare hash lets short secrets be guessed."""
    wanted = json.dumps([service, dict(environment)], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, wanted.encode(), hashlib.sha256).hexdigest()


def labels_of(slot: Slot, configuration: str) -> dict[str, str]:
    """Labels by which the platform knows its containers again."""
    return {
        f"{LABEL}.managed": "true",
        f"{LABEL}.kind": "slot",
        f"{LABEL}.app": slot.app,
        f"{LABEL}.slot": slot.slot,
        f"{LABEL}.version": slot.version,
        f"{LABEL}.digest": slot.image.partition("@")[2],
        f"{LABEL}.configuration": configuration,
    }


def project_of(slot: Slot, service: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """The whole compose file."""
    labelled = {**service, "labels": labels_of(slot, configuration)}
    return {"name": slot.name, "services": {"app": _escape(labelled)}}


@dataclasses.dataclass(frozen=True)
class Container:
    """A container as the engine knows it."""

    identifier: str
    image: str
    status: str
    labels: Mapping[str, str]
    exit_code: int = 0
    out_of_memory: bool = False
    restart_count: int = 0
    started_at: str = ""
    error: str = ""

    @property
    def managed(self) -> bool:
        """Whether the platform made it."""
        return self.labels.get(f"{LABEL}.managed") == "true"

    def report(self) -> dict[str, Any]:
        """What a caller may want to know of it."""
        return {
            "container_id": self.identifier,
            "image": self.image,
            "version": self.labels.get(f"{LABEL}.version", ""),
            "status": self.status,
            "exit_code": self.exit_code,
            "oom_killed": self.out_of_memory,
            "restart_count": self.restart_count,
            "started_at": self.started_at,
            "error": self.error,
        }


def container_of(answer: Mapping[str, Any]) -> Container:
    """Read the engine's `inspect` answer."""
    state = answer["State"]
    return Container(
        identifier=answer["Id"],
        image=answer["Config"]["Image"],
        status=state["Status"],
        labels=answer["Config"].get("Labels") or {},
        exit_code=state["ExitCode"],
        out_of_memory=state["OOMKilled"],
        restart_count=answer.get("RestartCount", 0),
        started_at=state["StartedAt"],
        error=state.get("Error", ""),
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done with one slot's container."""

    action: str  # none, create, replace, start, stop, remove
    reason: str

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.action != "none"


def _plan_started(current: Container | None, configuration: str) -> Plan:
    if current is None:
        return Plan("create", "no container yet")
    if current.labels.get(f"{LABEL}.configuration") != configuration:
        return Plan("replace", "image, environment or settings differ")
    if current.status in ("running", "restarting"):
        return Plan("none", "runs as wanted")
    if current.status in ("exited", "created"):
        return Plan("start", f"as wanted, but {current.status}")
    return Plan("replace", f"as wanted, but {current.status}")


def plan(state: str, current: Container | None, configuration: str = "") -> Plan:
    """Decide; the container with the slot's name must be the platform's own."""
    if state == "started":
        return _plan_started(current, configuration)
    if current is None:
        return Plan("none", "no container")
    if state == "absent":
        return Plan("remove", f"container is {current.status}")
    if current.status in ("exited", "created", "dead"):
        return Plan("none", f"container is {current.status}")
    return Plan("stop", f"container is {current.status}")
