# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A scratch server that takes too much room is stopped before the repository beside it has none."""

from __future__ import annotations

import shutil
import threading

from problems import NO_ROOM, Problem
from scratch import Scratch

GLANCE_SECONDS = 0.5
KEPT_FREE_BYTES = 512 * 1024**2
# Every table rewritten and every index built anew, and the WAL of it.
GROWTH, LEAST_BYTES = 2.5, 1024**3


class Bounds:
    """While the block runs. Its sessions end with the server, and the block with a Problem."""

    def __init__(self, scratch: Scratch, database_bytes: int) -> None:
        self._scratch, self._limit = scratch, int(database_bytes * GROWTH) + LEAST_BYTES
        self._free = self._free_bytes()
        self._over = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Bounds:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()
        if self._problem:
            remedy = "enlarge the disk, or set pgbackrest_scratch_directory to another one"
            raise Problem(NO_ROOM, self._problem, remedy) from None

    def _watch(self) -> None:
        while not self._over.wait(GLANCE_SECONDS):
            free = self._free_bytes()
            taken = self._free - free
            if free < KEPT_FREE_BYTES or taken > self._limit:
                where = self._scratch.directory
                self._problem = f"the rehearsal took {taken >> 20} MiB in {where}, which has {free >> 20} MiB left"
                self._scratch.stop("immediate")
                return

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._scratch.directory).free
