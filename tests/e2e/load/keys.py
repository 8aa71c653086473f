"""The API keys that the clients send: one that stays, or those of a file that is read again when it changes."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

from .options import Options

# How soon a changed file is taken up.
LOOK_SECONDS = 0.2


class Keys:
    """With a file the keys of its lines are sent in turns, so that old and new can be used side by side."""

    def __init__(self, options: Options) -> None:
        self._file = options.api_key_file
        self._turns: Iterator[str] = itertools.cycle([options.api_key])
        self._look_at = 0.0
        self._read_as = 0

    def next(self) -> str:
        """The key for the next request, empty for none."""
        now = time.monotonic()
        if self._file and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            written = os.stat(self._file).st_mtime_ns
            if written != self._read_as:
                self._read_as = written
                self._turns = itertools.cycle(self._file.read_text(encoding="ascii").split() or [""])
        return next(self._turns)

    def header(self) -> tuple[tuple[str, str], ...]:
        """The header for the next request."""
        key = self.next()
        return (("x-api-key", key),) if key else ()
