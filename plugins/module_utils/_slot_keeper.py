# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings one slot of one host to the wanted state, and says what it did."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Callable, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils import _compose as compose
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import changed_names
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import EngineError
from ansible_collections.signalbox.platform.plugins.module_utils._slot_files import Keeping


class SlotError(Exception):
    """The slot could not be brought to the wanted state; the message says what to do."""


class EnginePort(Protocol):
    """What the keeper asks of the engine."""

    def info(self) -> tuple[compose.EngineLimits, str]: ...
    def container(self, name: str) -> compose.Container | None: ...
    def image_command(self, image: str) -> compose.Command | None: ...
    def start(self, name: str) -> None: ...
    def stop(self, name: str, timeout_seconds: int) -> None: ...
    def remove(self, name: str) -> None: ...
    def remove_network(self, name: str) -> None: ...
    def remove_image(self, image: str) -> bool: ...
    def log_lines(self, name: str, lines: int) -> list[str]: ...


class FilesPort(Protocol):
    """What the keeper asks of the slot's files."""

    paths: compose.Paths

    def has_fingerprint_key(self) -> bool: ...
    def fingerprint_key(self) -> bytes: ...
    def environment(self) -> dict[str, str]: ...
    def compose(self) -> str | None: ...
    def write_environment(self, environment: dict[str, str], engine_environment: bool) -> None: ...
    def write_compose(self, text: str) -> None: ...
    def seal(self, environment: dict[str, str], keeping: Keeping) -> None: ...
    def sealed(self, keeping: Keeping) -> bool: ...
    def remove(self) -> list[str]: ...


class PullerPort(Protocol):
    """What the keeper asks of whoever fetches images."""

    def ensure(self, image: str) -> tuple[compose.Command, bool]: ...


_HINTS = (
    (
        r"port is already allocated|address already in use",
        "another process or container holds {address}:{port}: `ss -ltnp 'sport = :{port}'`",
    ),
    (r"cannot assign requested address", "{address} is not an address of this host: check bind_address"),
    (r"bind source path does not exist", "a file to be mounted is missing on this host: check mounts"),
    (
        r"non-overlapping|could not find an available",
        "no address range is left for another network: widen container_engine_address_pools",
    ),
    (
        r"exec: .*(not found|no such file)",
        "the image has no /bin/sh: set engine_environment, at the price that `docker inspect` shows the environment",
    ),
)


def explain(output: str, slot: compose.Slot) -> str:
    """What an error of the engine means and how to mend it; empty when unknown."""
    for pattern, hint in _HINTS:
        if re.search(pattern, output):
            return hint.format(address=slot.bind_address, port=slot.host_port)
    return ""


@dataclasses.dataclass
class Outcome:
    """What was done, or in check mode would be."""

    changed: bool
    action: str
    reason: str
    container: compose.Container | None = None
    previous: compose.Container | None = None
    pulled: bool = False
    environment: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    before: str = ""
    after: str = ""
    milliseconds: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Wanted:
    """A slot as decided: its compose file, its fingerprint and the step towards it."""

    slot: compose.Slot
    text: str
    configuration: str
    plan: compose.Plan
    pulled: bool = False


@dataclasses.dataclass
class Keeper:
    """Does the work of one slot."""

    engine: EnginePort
    files: FilesPort
    puller: PullerPort
    run: Callable[[list[str]], tuple[int, str, str]]
    check_mode: bool = False
    clock: Callable[[], float] = time.monotonic
    milliseconds: dict[str, int] = dataclasses.field(default_factory=dict)

    def _timed(self, name: str, since: float) -> None:
        self.milliseconds[name] = round((self.clock() - since) * 1000)

    def current(self, name: str) -> compose.Container | None:
        """The slot's container; a stranger under its name is an error."""
        container = self.engine.container(name)
        if container is not None and not container.managed:
            raise SlotError(
                f"a container named {name} exists that the platform did not make; "
                f"rename or remove it: `docker rename {name} {name}-old`"
            )
        return container

    def started(self, slot: compose.Slot, environment: dict[str, str], keeping: Keeping | None) -> Outcome:
        """Run the slot's container as wanted; without `keeping` no copy of its environment is kept."""
        limits, _root = self.engine.info()
        resources, warnings = limits.allow(slot.resources)
        slot = dataclasses.replace(slot, resources=resources)
        previous = self.current(slot.name)
        names = changed_names(self.files.environment(), environment)
        before = self.files.compose() or ""
        wanted = self._wanted(slot, environment, previous)
        files_differ = (
            any(names.values()) or before != wanted.text or (keeping is not None and not self.files.sealed(keeping))
        )
        outcome = Outcome(
            changed=wanted.plan.changes or files_differ,
            action=wanted.plan.action,
            reason=wanted.plan.reason
            if wanted.plan.changes or not files_differ
            else "the container runs as wanted; its files were written again",
            container=previous,
            previous=previous,
            pulled=wanted.pulled,
            environment=names,
            warnings=warnings,
            before=before,
            after=wanted.text,
            milliseconds=self.milliseconds,
        )
        if not self.check_mode and outcome.changed:
            if files_differ:
                self._write_files(slot, environment, wanted.text, keeping, any(names.values()))
            self._apply(wanted)
            outcome.container = self.current(slot.name)
        return outcome

    def _wanted(self, slot: compose.Slot, environment: dict[str, str], current: compose.Container | None) -> Wanted:
        since = self.clock()
        if self.check_mode:
            command, pulled = self.engine.image_command(slot.image), False
            if command is None:
                step = compose.Plan("create" if current is None else "replace", "the image has to be pulled first")
                return Wanted(
                    slot,
                    self._text(slot, compose.Command(("(unknown until the image is pulled)",)), environment)[0],
                    "",
                    step,
                )
        else:
            command, pulled = self.puller.ensure(slot.image)
        self._timed("image", since)
        if not command.argv:
            raise SlotError(f"{slot.image} has neither an entry point nor a command: give the image one")
        text, configuration = self._text(slot, command, environment)
        return Wanted(slot, text, configuration, compose.plan("started", current, configuration), pulled)

    def _text(self, slot: compose.Slot, command: compose.Command, environment: Mapping[str, str]) -> tuple[str, str]:
        service = compose.service_of(slot, self.files.paths, command)
        key = b"" if self.check_mode and not self.files.has_fingerprint_key() else self.files.fingerprint_key()
        configuration = compose.fingerprint(service, environment, key)
        return json.dumps(compose.project_of(slot, service, configuration), indent=2) + "\n", configuration

    def _write_files(
        self, slot: compose.Slot, environment: dict[str, str], text: str, keeping: Keeping | None, differs: bool
    ) -> None:
        self.files.write_compose(text)
        self.files.write_environment(environment, slot.engine_environment)
        if keeping is not None and (differs or not self.files.sealed(keeping)):
            since = self.clock()
            self.files.seal(environment, keeping)
            self._timed("seal", since)

    def _apply(self, wanted: Wanted) -> None:
        since = self.clock()
        if wanted.plan.action == "start" and self._start(wanted.slot.name):
            self._timed("start", since)
        elif wanted.plan.changes:
            self._compose_up(wanted)
            self._timed("start", since)

    def _start(self, name: str) -> bool:
        """Start the warm container; False when it has to be made anew, as after its network was removed."""
        try:
            self.engine.start(name)
        except EngineError:
            return False
        return True

    def _compose_up(self, wanted: Wanted) -> None:
        slot = wanted.slot
        command = [
            "docker",
            "compose",
            "--project-name",
            slot.name,
            "--file",
            self.files.paths.compose,
            "up",
            "--detach",
            "--no-build",
        ]
        command += ["--pull", "never", "--remove-orphans", "--timeout", str(slot.stop_timeout_seconds), "--quiet-pull"]
        if wanted.plan.action != "create":
            command.append("--force-recreate")
        code, out, error = self.run(command)
        if code != 0:
            said = (error or out).strip()[-800:]
            hint = explain(said, slot)
            raise SlotError(f"{slot.name} did not start{': ' + hint if hint else ''}. The engine said: {said}")

    def warm(self, name: str, digest: str) -> Outcome | None:
        """Start the container that is there as it is; None when it is not of this image or cannot be started."""
        previous = self.current(name)
        if previous is None or previous.labels.get(f"{compose.LABEL}.digest") != digest:
            return None
        step = compose.plan("started", previous, previous.labels.get(f"{compose.LABEL}.configuration", ""))
        if step.action not in ("none", "start"):
            return None
        outcome = Outcome(step.changes, step.action, step.reason, previous, previous, milliseconds=self.milliseconds)
        if step.changes and not self.check_mode:
            since = self.clock()
            self.engine.start(name)
            self._timed("start", since)
            outcome.container = self.current(name)
        return outcome

    def stopped(self, name: str, timeout_seconds: int) -> Outcome:
        """Stop the container and keep it: starting it again takes a moment."""
        previous = self.current(name)
        step = compose.plan("stopped", previous)
        outcome = Outcome(step.changes, step.action, step.reason, previous, previous, milliseconds=self.milliseconds)
        if step.changes and not self.check_mode:
            since = self.clock()
            self.engine.stop(name, timeout_seconds)
            self._timed("stop", since)
            outcome.container = self.current(name)
        if (
            outcome.container is not None
            and outcome.container.exit_code == 137
            and not outcome.container.out_of_memory
            and step.changes
        ):
            outcome.warnings.append(
                f"{name} did not end within {timeout_seconds} s of SIGTERM and was killed; "
                "raise stop_timeout_seconds, or mend its shutdown."
            )
        return outcome

    def absent(self, name: str, timeout_seconds: int, keep_image: bool) -> Outcome:
        """Remove the container and everything the slot has on this host."""
        outcome = self.stopped(name, timeout_seconds)
        step = compose.plan("absent", outcome.previous)
        outcome.action, outcome.reason, outcome.changed = step.action, step.reason, step.changes
        if self.check_mode:
            outcome.changed = step.changes or self.files.compose() is not None
            return outcome
        if outcome.container is not None:
            self.engine.remove(name)
            self.engine.remove_network(f"{name}_default")
            if not keep_image:
                self.engine.remove_image(outcome.container.image)
        if self.files.remove():
            outcome.changed = True
        outcome.container = None
        return outcome


def result_of(outcome: Outcome) -> dict[str, Any]:
    """The module's answer."""
    container = outcome.container
    return {
        "changed": outcome.changed,
        "action": outcome.action,
        "reason": outcome.reason,
        "container": None if container is None else container.report(),
        "container_id": "" if container is None else container.identifier,
        "started": container is not None and container.status in ("running", "restarting"),
        "previous": None if outcome.previous is None else outcome.previous.report(),
        "pulled": outcome.pulled,
        "environment": outcome.environment,
        "milliseconds": outcome.milliseconds,
    }


def diff_of(outcome: Outcome) -> dict[str, str]:
    """What changes, for `--diff`: the compose file, and of the environment no more than names."""
    header = [f"# environment {kind}: {', '.join(names)}" for kind, names in outcome.environment.items() if names]
    after = "\n".join([*header, outcome.after]) if header else outcome.after
    return {"before": outcome.before, "after": after}
