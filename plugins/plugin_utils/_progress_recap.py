# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of the progress display: plays, hosts, and last of all the reason of a failure."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible import constants as C
from ansible import context

from ansible_collections.signalbox.platform.plugins.module_utils import _progress as texts
from ansible_collections.signalbox.platform.plugins.plugin_utils._progress_run import Run

WORDS = {
    "failed": "FAILED",
    "unreachable": "UNREACHABLE",
    "rescued": "failed, rescued",
    "ignored": "failed, ignored",
}
SHOWN_FAILURES = 3
SHOWN_LINES = 30


class Recap(Run):
    def _show_failure(self, failure: dict[str, Any], most: int = 200) -> None:
        grave = failure["status"] in ("failed", "unreachable")
        color = C.COLOR_ERROR if grave else C.COLOR_WARN
        mark = "✘" if grave else "↺"
        head = f"  {mark} {failure['task']} · {failure['host']} · {WORDS[failure['status']]} after"
        self._say(f"{head} {texts.clock(failure['seconds'])}", color)
        lines = failure["lines"]
        if len(lines) > most:
            lines = [*lines[:most], f"… {len(lines) - most} more lines above"]
        for line in texts.wrapped(lines, min(140, self._columns()) - 6):
            self._say(f"      {line}", color)
        if failure["path"]:
            self._say(f"      at {failure['path']}", C.COLOR_DEBUG)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._flush()
        with self._lock:
            self._finished = True
            if self._live:
                self._live.close()
        now = time.monotonic()
        if self._plays:
            self._plays[-1]["seconds"] = now - self._plays[-1]["began"]
        if self._verbose:
            super().v2_playbook_on_stats(stats)
        else:
            self._show_plays()
            self._show_hosts(stats)
            self._show_custom(stats)
        self._show_result(stats, now - self._began)

    def _show_plays(self) -> None:
        self._say("\n▸ Recap", C.COLOR_HIGHLIGHT)
        for play in self._plays:
            self._say(f"  {texts.clock(play['seconds'] or 0):>7}  {texts.fit(play['name'], 80)}")

    def _show_hosts(self, stats: Any) -> None:
        names = sorted(stats.processed)
        longest = max([texts.width(name) for name in names] or [0])
        self._say("")
        for name in names:
            found = stats.summarize(name)
            parts = [f"ok {found['ok']:<4} changed {found['changed']:<4}"]
            for key, word in (("failures", "failed"), ("unreachable", "unreachable"), ("rescued", "rescued")):
                if found[key]:
                    parts.append(f"{word} {found[key]}")
            color = C.COLOR_ERROR if found["failures"] or found["unreachable"] else C.COLOR_OK
            if color == C.COLOR_OK and found["changed"]:
                color = C.COLOR_CHANGED
            self._say(f"  {name:<{longest}}  {' '.join(parts)}".rstrip(), color)

    def _show_custom(self, stats: Any) -> None:
        if stats.custom and self.get_option("show_custom_stats"):
            for key, value in sorted(stats.custom.items()):
                self._say(f"  {key}: {json.dumps(value, ensure_ascii=False, default=str)}")

    def _show_result(self, stats: Any, seconds: float) -> None:
        hosts = sorted(stats.processed)
        bad = [host for host in hosts if stats.failures.get(host) or stats.dark.get(host)]
        grave = [item for item in self._failures if item["status"] in ("failed", "unreachable")]
        check = " (check mode: nothing was changed)" if context.CLIARGS.get("check") else ""
        result = "failed" if bad else "ok"
        summaries = {host: stats.summarize(host) for host in hosts}
        failures = [{key: item[key] for key in ("host", "task", "status")} for item in grave]
        self._event("summary", result=result, hosts=summaries, failures=failures)
        if not bad:
            changed = texts.count(sum(stats.changed.values()), "change")
            text = f"✔ Done in {texts.clock(seconds)} · {texts.count(len(hosts), 'host')} · {changed}{check}"
            self._say(f"\n{text}", C.COLOR_OK)
            return
        self._say(f"\n✘ FAILED after {texts.clock(seconds)} on {texts.host_list(bad, 5)}{check}", C.COLOR_ERROR)
        # A rescued failure is the cause of the one that ended the run: it comes first, the end comes last.
        causes = [item for item in self._failures if item["status"] == "rescued" and item["host"].split(" ")[0] in bad]
        shown = [*causes[-1:], *_distinct(grave)[-SHOWN_FAILURES:]]
        for item in shown:
            self._show_failure(item, SHOWN_LINES)


def _distinct(failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same failure on many hosts is told once, with its hosts."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for item in failures:
        key = (item["task"], "\n".join(item["lines"]))
        if key in found:
            found[key]["hosts"].append(item["host"])
        else:
            found[key] = {**item, "hosts": [item["host"]]}
    return [{**item, "host": texts.host_list(item["hosts"])} for item in found.values()]
