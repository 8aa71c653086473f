# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One line at the foot of a terminal that gives way to all other output."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import Any, Callable

CLEAR = "\r\x1b[2K"


class LiveLine:
    """Wraps the writes of stdout and stderr: warnings and other plugins' lines never land behind the live line."""

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self.lock = lock
        self.shown = False
        self.middle = False
        self.process = os.getpid()
        self.raw = sys.stdout.write
        self.wrapped = [(stream, stream.write) for stream in (sys.stdout, sys.stderr)]
        for stream, write in self.wrapped:
            stream.write = self._giving_way(write)  # type: ignore[method-assign]

    def _giving_way(self, write: Callable[[str], int]) -> Callable[[str], int]:
        def giving_way(text: str) -> int:
            # Forked workers inherit the wrapper, not the line.
            if os.getpid() != self.process:
                return write(text)
            with self.lock:
                self.clear()
                if text:
                    # Whoever left a line unfinished (a prompt) still uses it.
                    self.middle = not text.endswith("\n")
                return write(text)

        return giving_way

    def draw(self, text: str) -> None:
        with self.lock:
            if self.middle:
                return
            self.raw(CLEAR + text)
            sys.stdout.flush()
            self.shown = True

    def clear(self) -> None:
        with self.lock:
            if self.shown:
                self.shown = False
                self.raw(CLEAR)
                sys.stdout.flush()

    def close(self) -> None:
        with self.lock:
            self.clear()
            for stream, write in self.wrapped:
                stream.write = write  # type: ignore[method-assign]
