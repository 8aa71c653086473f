# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the progress display keeps of a run, its clock, and its ways out: screen, live line and events."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from datetime import datetime, timezone
from typing import Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

from ansible_collections.signalbox.platform.plugins.module_utils import _progress as texts
from ansible_collections.signalbox.platform.plugins.plugin_utils._live_line import LiveLine

PAUSE = ("pause", "ansible.builtin.pause", "ansible.legacy.pause")


class Run(DefaultCallback):
    """All state is guarded by the display's own lock: workers are forked under it, so none inherits it half done."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._views: dict[tuple[str, str], texts.TaskView] = {}
        self._plays: list[dict[str, Any]] = []
        self._failures: list[dict[str, Any]] = []
        self._finished = False
        self._live: LiveLine | None = None
        self._json: Any = None
        self._lock = getattr(self._display, "_lock", None) or threading.RLock()

    # ---- ways out --------------------------------------------------------------------------------------------------

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity > 0)

    def _say(self, text: str, color: str | None = None) -> None:
        self._display.display(text, color=color)

    def _event(self, event: str, **more: Any) -> None:
        if self._json is None:
            return
        moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"time": moment, "elapsed": round(time.monotonic() - self._began, 3), "event": event, **more}
        self._json.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        self._json.flush()

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        # Some terminals of CI systems tell a size of nothing.
        return max(40, columns - 1) if columns else 100

    # ---- the clock -------------------------------------------------------------------------------------------------

    def _start_clock(self) -> None:
        mode = self.get_option("progress_live")
        terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        if mode == "always" or (mode == "auto" and terminal):
            self._live = LiveLine(self._lock)
        threading.Thread(target=self._tick_forever, name="progress", daemon=True).start()
        atexit.register(self._at_exit)

    def _tick_forever(self) -> None:
        while not self._finished:
            time.sleep(1 - (time.monotonic() - self._began) % 1)
            with self._lock:
                if not self._finished:
                    self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        open_views = [view for view in self._views.values() if view.running]
        if self._live:
            waited = [view for view in open_views if view.action not in PAUSE]
            if waited and len(waited) == len(open_views):
                view = waited[0]
                if len(waited) > 1:
                    view = texts.TaskView("", f"{len(waited)} tasks", False, min(item.began for item in waited))
                    view.running = {host: began for item in waited for host, began in item.running.items()}
                self._live.draw(texts.live_line(view, now, self._columns()))
            else:
                self._live.clear()
            return
        every = self.get_option("progress_wait_seconds")
        for view in open_views:
            times = int((now - view.began) // every) if every > 0 else 0
            if times > view.reminded:
                view.reminded = times
                self._say(texts.reminder(view, now))
                sys.stdout.flush()

    def _at_exit(self) -> None:
        """A run that ends without a recap was interrupted: leave a clean terminal and say where it stood."""
        with self._lock:
            finished, self._finished = self._finished, True
            if self._live:
                self._live.close()
            if finished or not self._plays:
                return
            now = time.monotonic()
            for view in [view for view in self._views.values() if view.ended is None]:
                who = f", waiting for {texts.host_list(list(view.running))}" if view.running else ""
                self._say(f"Interrupted at {view.name} after {texts.clock(now - view.began)}{who}", C.COLOR_ERROR)
            self._say(f"Run ended without a result after {texts.clock(now - self._began)}", C.COLOR_ERROR)
            self._event("summary", result="interrupted")
