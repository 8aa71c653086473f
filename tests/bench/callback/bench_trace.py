"""Writes what every task took on every host, and the durations that modules measured themselves, one JSON a line."""

from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: bench_trace
type: notification
short_description: Trace of a run for the benchmark
version_added: "0.1.0"
description: Appends a line to the file that the environment variable SIGNALBOX_BENCH_TRACE names.
author: [Signalbox contributors (@signalbox)]
"""
MEASURED = ("milliseconds", "switched_milliseconds", "seconds")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench_trace"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.began: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host, task) -> None:
        self.began[host.get_name(), task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result) -> None:
        host, task, found = result._host.get_name(), result._task, result._result
        began = self.began.pop((host, task._uuid), None)
        line = {"host": host, "task": task.get_name(), "action": task.action}
        line["took"] = None if began is None else time.monotonic() - began
        line.update({name: found[name] for name in MEASURED if name in found})
        if isinstance(found.get("report"), dict):
            line["seconds"] = found["report"].get("seconds")
        with open(os.environ["SIGNALBOX_BENCH_TRACE"], "a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    def v2_runner_on_failed(self, result, ignore_errors=False) -> None:
        self.v2_runner_on_ok(result)
