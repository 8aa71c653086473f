# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: Shows what a long run does, how long it takes and who is waited for
version_added: "0.1.0"
description:
  - A play is a section, a task is a step. A step is shown when it changed or failed something, when it took long, or
    when its name starts with C(Phase:), a space and the name of a phase; all else is counted only.
  - On a terminal the last line tells the current step, its time and the hosts that are waited for. In a plain log a
    phase has one line when it starts and one when it ends, and a wait is told from time to time.
  - A failure is shown with line breaks and with the report of a gate as a table; the recap ends with it, so that the
    last screen holds the reason.
  - With C(-v) or more, results are shown as by P(ansible.builtin.default#callback). Results under C(no_log) are never
    shown. Colours follow E(ANSIBLE_NOCOLOR).
author: [Signalbox contributors (@signalbox)]
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as C(stdout_callback) in C(ansible.cfg).
options:
  progress_live:
    description: Whether to redraw the last line each second. With V(auto) only on a terminal.
    type: str
    choices: [auto, always, never]
    default: auto
    env: [{name: SIGNALBOX_PROGRESS_LIVE}]
    ini: [{section: callback_progress, key: live}]
  progress_slow_seconds:
    description: A step that took longer is shown although it changed nothing.
    type: float
    default: 2
    env: [{name: SIGNALBOX_PROGRESS_SLOW_SECONDS}]
    ini: [{section: callback_progress, key: slow_seconds}]
  progress_wait_seconds:
    description: How often a plain log tells who is waited for.
    type: float
    default: 30
    env: [{name: SIGNALBOX_PROGRESS_WAIT_SECONDS}]
    ini: [{section: callback_progress, key: wait_seconds}]
  progress_json_path:
    description:
      - File to which events are appended as JSON lines, each with C(time), C(elapsed) and C(event), one of C(start),
        C(play), C(task), C(result), C(retry), C(summary). Results carry host, status and, when failed, the message.
    type: path
    env: [{name: SIGNALBOX_PROGRESS_JSON_PATH}]
    ini: [{section: callback_progress, key: json_path}]
"""

import os
import sys
import time
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.playbook.block import Block
from ansible.playbook.task_include import TaskInclude

from ansible_collections.signalbox.platform.plugins.module_utils import _progress as texts
from ansible_collections.signalbox.platform.plugins.plugin_utils._progress_recap import Recap

FREE = ("free", "host_pinned", "ansible.builtin.free", "ansible.builtin.host_pinned")


class CallbackModule(Recap):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "signalbox.platform.progress"

    def __init__(self) -> None:
        super().__init__()
        self._said: tuple[str, str] | None = None
        self._failed_items: dict[tuple[str, str], list[str]] = {}

    # ---- playbook and plays ----------------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Any) -> None:
        if self.get_option("progress_json_path"):
            self._json = open(self.get_option("progress_json_path"), "a", encoding="utf-8")  # noqa: SIM115  run's length
        self._began = time.monotonic()
        self._start_clock()
        super().v2_playbook_on_start(playbook)
        self._event("start", playbook=os.path.basename(playbook._file_name), check=bool(context.CLIARGS.get("check")))
        if context.CLIARGS.get("check"):
            self._say("Check mode: nothing is changed, steps show what would change.", C.COLOR_WARN)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._flush()
        now = time.monotonic()
        name = play.get_name().strip() or "play"
        last = self._plays[-1] if self._plays else None
        if last and last["uuid"] == play._uuid:
            last["batch"] += 1
            name = f"{name} · batch {last['batch']}"
        else:
            if last:
                last["seconds"] = now - last["began"]
            self._plays.append({"uuid": play._uuid, "name": name, "began": now, "seconds": None, "batch": 1})
        self._event("play", name=name)
        if self._verbose:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        self._say(f"\n▸ {name}", C.COLOR_HIGHLIGHT)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._say("  - no host matches", C.COLOR_SKIP)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._flush()
        self._say("  ✘ no host is left to go on with", C.COLOR_ERROR)

    # ---- tasks -----------------------------------------------------------------------------------------------------

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        if self._verbose:
            super()._task_start(task, prefix)
        else:
            self._task_type_cache[task._uuid] = prefix or "TASK"
            self._last_task_name = task.get_name().strip()
        if self._free:
            return
        self._flush()
        view = self._open(task, "")
        # A phase tells that it starts where nothing else would tell what is waited for.
        if view.phase and not self._live and not self._verbose:
            view.announced = True
            self._say(f"  ▶ {view.name}")
            sys.stdout.flush()

    @property
    def _free(self) -> bool:
        return self._play is not None and self._play.strategy in FREE

    def _open(self, task: Any, host: str) -> texts.TaskView:
        name, phase = texts.phase_name(task.get_name().strip())
        view = texts.TaskView(task._uuid, name, phase, time.monotonic(), task.action)
        self._views[(task._uuid, host)] = view
        self._event("task", name=name, phase=phase, **({"host": host} if host else {}))
        return view

    def _view(self, task: Any, host: str) -> texts.TaskView:
        key = (task._uuid, host if self._free else "")
        with self._lock:
            return self._views.get(key) or self._open(task, key[1])

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        super().v2_runner_on_start(host, task)
        if isinstance(task, TaskInclude):
            return
        view, name = self._view(task, host.get_name()), host.get_name()
        with self._lock:
            view.running[name] = time.monotonic()
            if name not in view.hosts:
                view.hosts.append(name)
            if self._live and not self._finished:
                self._tick()

    def _flush(self) -> None:
        """Close the steps that are over: show those worth it, drop the rest."""
        with self._lock:
            if self._live:
                self._live.clear()
            for key, view in list(self._views.items()):
                if not self._free or not view.running:
                    del self._views[key]
                    self._show_end(view)

    def _show_end(self, view: texts.TaskView) -> None:
        now = time.monotonic()
        view.ended = view.ended or now
        slow = view.ended - view.began > self.get_option("progress_slow_seconds")
        # A failure has been told in full already; the step's own line would only say so again.
        told = view.bad or view.ignored
        wanted = view.changed or view.announced or (view.hosts and not told and (slow or view.phase))
        if self._verbose or not wanted:
            return
        color = C.COLOR_OK
        if view.failed or view.unreachable:
            color = C.COLOR_ERROR
        elif view.rescued or view.ignored:
            color = C.COLOR_WARN
        elif view.only_skipped:
            color = C.COLOR_SKIP
        elif view.changed:
            color = C.COLOR_CHANGED
        self._say(texts.end_line(texts.mark_of(view), view, now, min(100, self._columns())), color)

    # ---- results ---------------------------------------------------------------------------------------------------

    def _done(self, result: Any, status: str, **more: Any) -> texts.TaskView:
        host, view = result.host.get_name(), self._view(result.task, result.host.get_name())
        with self._lock:
            view.running.pop(host, None)
            view.attempt = ""
            if host not in view.hosts:
                view.hosts.append(host)
            bucket = getattr(view, status, None)
            if isinstance(bucket, list):
                bucket.append(self.host_label(result))
            if not view.running:
                view.ended = time.monotonic()
        self._event("result", task=view.name, host=host, status=status, **more)
        return view

    def _after(self, view: texts.TaskView) -> None:
        """Under a free strategy hosts go their own ways: a step ends with its host."""
        with self._lock:
            key = (view.uuid, view.hosts[0] if view.hosts else "")
            if self._free and not view.running and self._views.pop(key, None):
                self._show_end(view)

    def v2_runner_on_ok(self, result: Any) -> None:
        if isinstance(result.task, TaskInclude):
            if self._verbose:
                super().v2_runner_on_ok(result)
            return
        changed = bool(result.result.get("changed"))
        view = self._done(result, "changed" if changed else "ok")
        if self._verbose:
            super().v2_runner_on_ok(result)
        else:
            self._handle_warnings_and_exception(result)
            if result.task.action in C._ACTION_DEBUG:
                self._show_debug(result)
        self._after(view)

    def _show_debug(self, result: Any) -> None:
        """What a playbook says to people is not noise."""
        message = result.result.get("msg")
        said = message if isinstance(message, list) else [message]
        key = (result.task._uuid, str(message))
        # Hosts mostly say the same: once is enough.
        if "censored" in result.result or message is None or key == self._said:
            return
        self._said = key
        for line in [line for item in said for line in texts.plain(item).split("\n")]:
            self._say(f"    {line}", C.COLOR_OK)

    def v2_runner_on_skipped(self, result: Any) -> None:
        if isinstance(result.task, TaskInclude):
            return
        view = self._done(result, "skipped")
        if self._verbose:
            super().v2_runner_on_skipped(result)
        self._after(view)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        rescued = not ignore_errors and _has_rescue(result.task)
        self._bad(result, "ignored" if ignore_errors else "rescued" if rescued else "failed")
        if self._verbose:
            super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._bad(result, "ignored" if result.task.ignore_unreachable else "unreachable")
        if self._verbose:
            super().v2_runner_on_unreachable(result)

    def _bad(self, result: Any, status: str) -> None:
        lines = texts.failure_lines(result.result)
        lines += self._failed_items.pop((result.task._uuid, result.host.get_name()), [])
        view = self._done(result, status, msg="\n".join(lines))
        failure = {"host": self.host_label(result), "task": view.name, "status": status, "lines": lines}
        path = result.task.get_path() or ""
        failure["path"] = path.removeprefix(f"{os.getcwd()}/")
        failure["seconds"] = time.monotonic() - view.began
        self._failures.append(failure)
        if not self._verbose:
            result.result.pop("exception", None)
            self._handle_warnings_and_exception(result)
            self._show_failure(failure)
        self._after(view)

    # ---- items, retries, diffs -------------------------------------------------------------------------------------

    def _item(self, result: Any) -> None:
        if not isinstance(result.task, TaskInclude):
            self._view(result.task, result.host.get_name()).items += 1

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._item(result)
        if self._verbose:
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._item(result)
        key = (result.task._uuid, result.host.get_name())
        self._failed_items.setdefault(key, []).extend(texts.item_lines(result.result))
        if self._verbose:
            super().v2_runner_item_on_failed(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_retry(self, result: Any) -> None:
        attempts, retries = result.result.get("attempts", 0), result.result.get("retries", 0)
        self._view(result.task, result.host.get_name()).attempt = f"try {min(attempts + 1, retries)} of {retries}"
        self._event("retry", task=result.task.get_name(), host=result.host.get_name(), attempt=attempts, of=retries)
        if self._verbose:
            super().v2_runner_retry(result)

    def v2_on_file_diff(self, result: Any) -> None:
        if self._verbose:
            super().v2_on_file_diff(result)
            return
        items = result.result["results"] if result.task.loop and "results" in result.result else [result.result]
        for item in items:
            diff = self._get_diff(item["diff"]) if item.get("diff") and item.get("changed") else ""
            if diff:
                self._say(f"  ± {self._view(result.task, result.host.get_name()).name} · {self.host_label(result)}")
                self._say(diff.rstrip("\n"))

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_async_poll(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_on_async_poll(result)

    def v2_runner_on_async_ok(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_on_async_ok(result)


def _has_rescue(task: Any) -> bool:
    """Whether the task stands in the body (not in rescue or always) of a block that rescues."""
    child, parent = task, task._parent
    while parent is not None:
        if isinstance(parent, Block) and parent.rescue and child._uuid in [member._uuid for member in parent.block]:
            return True
        child, parent = parent, parent._parent
    return False
