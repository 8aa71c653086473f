# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Adds to module release what only the controller knows: who runs it, whether a holder still lives, how to wait."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import platform
import subprocess
import time
import uuid
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

CHUNK_SECONDS = 10.0
NAMESPACE = uuid.UUID("6f1b6f0e-6a52-4a53-8f0b-2f0a6c1f7f5e")
Json = dict[str, Any]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read().strip()
    except OSError:
        return ""


def boot_id() -> str:
    linux = _read("/proc/sys/kernel/random/boot_id")
    if linux or platform.system() != "Darwin":
        return linux
    found = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def pid_namespace() -> str:
    """Process ids mean something only inside one namespace: two CI containers share a boot id, not their processes."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def process_stat(pid: int) -> tuple[str, str]:
    """State letter and start time (clock ticks since boot), empty where unknown. The name before may hold spaces."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


def identity() -> Json:
    """The playbook process: tasks run in short-lived children of it."""
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent and parent.pid else os.getpid()
    return {
        "hostname": platform.node(),
        "boot_id": boot_id(),
        "namespace": pid_namespace(),
        "pid": pid,
        "started": process_stat(pid)[1],
    }


def run_id_of(controller: Json) -> str:
    """The same for all tasks of one playbook process, and for no other process ever."""
    name = "/".join(str(controller[key]) for key in ("hostname", "boot_id", "namespace", "pid", "started"))
    return str(uuid.uuid5(NAMESPACE, name))


def provably_dead(holder: Json, here: Json) -> bool:
    """Only a process of this very boot and namespace can be judged, and what cannot be seen is taken for alive."""
    if not here["boot_id"] or any(holder.get(key) != here[key] for key in ("hostname", "boot_id", "namespace")):
        return False
    try:
        pid = int(holder["pid"])
    except (KeyError, TypeError, ValueError):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    state, started = process_stat(pid)
    # A zombie does nothing any more; it only waits for its parent.
    return state in ("Z", "X") or bool(started and holder.get("started") and started != holder["started"])


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        result = super().run(tmp, task_vars)
        del tmp
        here = identity()
        arguments = {**self._task.args}
        arguments.setdefault("run_id", run_id_of(here))
        arguments.setdefault("owner", f"{getpass.getuser()}@{here['hostname']}")
        arguments.setdefault("controller", here)
        if arguments.get("operation") == "begin":
            result.update(self._begin(arguments, here, task_vars or {}))
        else:
            result.update(self._call(arguments, task_vars or {}))
        return result

    def _call(self, arguments: Json, task_vars: Json) -> Json:
        return self._execute_module(
            module_name="signalbox.platform.release", module_args=arguments, task_vars=task_vars
        )

    def _begin(self, arguments: Json, here: Json, task_vars: Json) -> Json:
        """Ask in short waits on the state host, so that between them the holder's process can be looked at here."""
        try:
            wait = float(arguments.pop("wait_seconds", 0) or 0)
        except ValueError:
            return {"failed": True, "msg": "wait_seconds must be a number."}
        begun = time.monotonic()
        pause = 0.0
        while True:
            result = self._call({**arguments, "wait_seconds": pause}, task_vars)
            holder = result.get("holder") if result.get("code") == "held" else None
            if not holder:
                return self._told(result)
            if provably_dead(holder.get("controller") or {}, here):
                return self._told(self._call({**arguments, "takeover_run_id": holder["run_id"]}, task_vars))
            waited = time.monotonic() - begun
            if waited + 1 > wait or self._task.check_mode:
                return result
            display.display(self._waiting(holder, waited, wait))
            pause = min(CHUNK_SECONDS, wait - waited)

    @staticmethod
    def _waiting(holder: Json, waited: float, wait: float) -> str:
        return (
            f"Waiting for {holder['app']}: {holder['owner']} has it ({holder['kind']}, step {holder['step']}, "
            f"since {holder['acquired']}, lease runs out in {holder['remaining_seconds']:.0f} s unless renewed). "
            f"Waited {waited:.0f} s of {wait:.0f} s."
        )

    @staticmethod
    def _told(result: Json) -> Json:
        if result.get("stolen_text"):
            display.warning(result["stolen_text"])
        return result
