# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules that run containers have in common: option shapes, and keeping secrets out of their answers."""

from __future__ import annotations

import dataclasses
import secrets
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils._compose import Mount, Resources
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import (
    SECRET_LENGTH,
    InvalidEnvironment,
    redact,
    secret_values,
)
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine, EngineError
from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import SourceError, ask_vault
from ansible_collections.signalbox.platform.plugins.module_utils._image_pull import ImageError, Login, Puller, Run
from ansible_collections.signalbox.platform.plugins.module_utils._image_reference import InvalidReference, parse_pinned
from ansible_collections.signalbox.platform.plugins.module_utils._one_shot import Ended, OneShot
from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import UnfilledPlaceholder, fill

RESOURCE_OPTIONS: dict[str, Any] = {
    "cpus": {"type": "float", "default": 1.0},
    "memory": {"type": "str", "default": "512m"},
    "pids": {"type": "int", "default": 512},
}
MOUNT_OPTIONS: dict[str, Any] = {
    "source": {"type": "path", "required": True},
    "target": {"type": "str", "required": True},
}
REGISTRY_OPTIONS: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}
PULL_OPTIONS: dict[str, Any] = {
    "registry": {"type": "dict", "options": REGISTRY_OPTIONS},
    "pull_attempts": {"type": "int", "default": 4},
    "minimum_free_bytes": {"type": "int", "default": 1073741824},
    "image_download_bytes": {"type": "int", "default": 0},
    "engine_socket": {"type": "path", "default": "/run/docker.sock"},
}
# Of the modules that run one command of an image.
RUN_OPTIONS: dict[str, Any] = {
    **PULL_OPTIONS,
    "app": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "secret_sources": {"type": "dict", "default": {}, "no_log": False},
    "resources": {"type": "dict", "default": {}, "options": RESOURCE_OPTIONS, "apply_defaults": True},
    "mounts": {"type": "list", "elements": "dict", "default": [], "options": MOUNT_OPTIONS},
    "temporary": {"type": "list", "elements": "str", "default": ["/tmp"]},  # noqa: S108  of the container
    "read_only": {"type": "bool", "default": True},
    "user": {"type": "str", "default": ""},
    "timeout_seconds": {"type": "float", "default": 600},
}


class Interrupted(Exception):
    """The module was told to end."""


RUN_FAILURES = (
    EngineError,
    ImageError,
    Interrupted,
    InvalidEnvironment,
    InvalidReference,
    SourceError,
    UnfilledPlaceholder,
)


class Module(Protocol):
    """The part of AnsibleModule used here."""

    params: dict[str, Any]
    no_log_values: set[str]

    def run_command(self, args: list[str], **options: Any) -> tuple[int, str, str]: ...


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)


def guard(module: Module) -> dict[str, Any]:
    """Keep secrets, and only secrets, out of the answer; returns the invocation to report.

    Ansible strikes every value of a no_log dictionary out of the whole answer, wherever it occurs: an environment with
    DEBUG=1 or APP=agent-api would lose each "1" and each name. Here only values that can be secrets are struck out.
    """
    password = (module.params.get("registry") or {}).get("password")
    hidden = {name: module.params[name] for name in ("environment", "secrets") if module.params.get(name)}
    shown = {name: value for name, value in module.params.items() if name not in hidden}
    if password:
        shown["registry"] = {**shown["registry"], "password": "(hidden)"}
    texts = {name: str(value) for given in hidden.values() for name, value in given.items() if isinstance(value, str)}
    module.no_log_values = secret_values(texts, _texts(shown)) | ({password} if password else set())
    return {"module_args": {**shown, **{name: dict.fromkeys(given, "(hidden)") for name, given in hidden.items()}}}


def delivered(
    module: Module, environment: Mapping[str, str], ask: Callable[..., dict[str, Any]] = ask_vault
) -> dict[str, str]:
    """The environment with what O(secret_sources) names filled in; from then on it is struck out of the answer."""
    sources = module.params.get("secret_sources") or {}
    values = {name: str(value) for name, value in ask(["fetch"], sources).items()} if sources else {}
    filled = fill(environment, values)
    if sources:
        shown = _texts({name: value for name, value in module.params.items() if name not in ("environment", "secrets")})
        fetched = {value for value in values.values() if len(value) >= SECRET_LENGTH}
        changed = {name: value for name, value in filled.items() if value != environment[name]}
        module.no_log_values = set(module.no_log_values) | fetched | secret_values(changed, shown)
    return filled


def runner_of(module: Module) -> Run:
    """Commands run by the module, in English, without touching its own environment."""

    def run(command: list[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
        return module.run_command(command, environ_update={"LC_ALL": "C.UTF-8", **environment})

    return run


def puller_of(module: Module, engine: Engine) -> Puller:
    """The puller for the module's parameters."""
    registry = module.params.get("registry")
    return Puller(
        engine=engine,
        run=runner_of(module),
        login=Login(**registry) if registry else None,
        attempts=module.params["pull_attempts"],
        minimum_free_bytes=module.params["minimum_free_bytes"],
        download_bytes=module.params["image_download_bytes"],
        timeout_seconds=module.params.get("pull_seconds", 0),
    )


def end_on_signals() -> None:
    """From now on a signal that ends a process raises Interrupted, so that a container is removed first."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(f"interrupted by signal {number}; the container was removed")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupt)


def one_shot_of(
    parameters: Mapping[str, Any],
    resources: Resources,
    name: str,
    entrypoint: Sequence[str] | None,
    network: str = "bridge",
    kept_bytes: int = OneShot.kept_bytes,
) -> OneShot:
    """The wanted run, of parameters as RUN_OPTIONS has them and C(command). Raises InvalidReference."""
    parse_pinned(parameters["image"])
    return OneShot(
        app=parameters["app"],
        name=name,
        token=secrets.token_hex(4),
        image=parameters["image"],
        arguments=parameters["command"],
        entrypoint=entrypoint,
        resources=resources,
        mounts=[Mount(**mount) for mount in parameters["mounts"]],
        temporary=parameters["temporary"],
        read_only=parameters["read_only"],
        user=parameters["user"],
        network=network,
        kept_bytes=kept_bytes,
    )


def redacted(ended: Ended, known: Iterable[str]) -> Ended:
    """Without secret values in what was printed."""
    return dataclasses.replace(ended, stdout=redact(ended.stdout, known), stderr=redact(ended.stderr, known))


def told(ended: Ended) -> dict[str, Any]:
    """How it ended, as these modules return it."""
    return {
        "rc": ended.code,
        "stdout": ended.stdout,
        "stderr": ended.stderr,
        "timed_out": ended.timed_out,
        "seconds": round(ended.seconds, 3),
    }
