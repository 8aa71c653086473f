# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pgBackRest as this platform uses it. It ends `info` and `verify` with 0 on damage too, so its words are read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

from catalogue import Catalogue, Hole, Timeline, catalogue, forks, missing_segments
from problems import BROKEN, BUSY, UNREACHABLE, Problem

# `info` and `check` wait for minutes where a repository does not answer.
ASK_SECONDS = 90
CHECK_SECONDS = 180
# A push that began before there was a stanza fails after a minute, and another one may pass before the next.
ARCHIVE_SECONDS = 150
INCLUDED = "/etc/pgbackrest/conf.d"
_LOCKED = 50
_TLS_OR_HOST = (49, 95, 102, 124)


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """The last error that pgBackRest named, in one line."""
        lines = [line for line in (self.errors + self.output).splitlines() if "ERROR" in line or "FATAL" in line]
        text = (lines or (self.errors + self.output).splitlines()[-3:] or [f"exit code {self.code}"])[-1]
        return " ".join(text.split())[-400:]


def execute(command: Sequence[str], seconds: float, text: str = "") -> Said:
    """A command's answer within a time limit. The text is what it reads."""
    try:
        done = subprocess.run(
            # An error may hold what another passphrase makes of a file, which is no text.
            command,
            cwd="/",
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Said(124, "", f"ERROR: no answer within {seconds:.0f} s")
    return Said(done.returncode, done.stdout, done.stderr)


def passphrase(keys: Path) -> str:
    """The repository's own, out of the file in memory that pgBackRest reads."""
    try:
        text = keys.read_text()
    except OSError as error:
        raise Problem(BROKEN, f"{keys}: {error.strerror}", "start signalbox-backup-keys.service") from None
    return text.partition("repo1-cipher-pass=")[2].strip()


@dataclass
class Repository:
    """One stanza. `configuration` is the file of pgBackRest; empty for the host's own."""

    stanza: str
    configuration: str = ""
    execute: Callable[[Sequence[str], float], Said] = execute

    def command(self, name: str, *options: str, about: str = "") -> list[str]:
        # A file that is named is read without what is included, which is where the passphrase is.
        own = [f"--config={self.configuration}", f"--config-include-path={INCLUDED}"] if self.configuration else []
        return ["pgbackrest", f"--stanza={self.stanza}", *own, *options, name, *([about] if about else [])]

    def ask(self, name: str, *options: str, about: str = "", seconds: float = ASK_SECONDS) -> str:
        """Output of a command that must succeed."""
        command = self.command(name, "--log-level-console=off", "--log-level-stderr=error", *options, about=about)
        return self._must(name, self.execute(command, seconds)).output

    def _must(self, name: str, said: Said) -> Said:
        if said.code == 0:
            return said
        if said.code == _LOCKED:
            raise Problem(BUSY, f"another backup of {self.stanza} is under way", "wait for it")
        if said.code in _TLS_OR_HOST:
            remedy = "see that pgbackrest.service runs on both hosts, its port is open and the certificates are valid"
            raise Problem(UNREACHABLE, f"pgbackrest {name}: {said.reason}", remedy)
        raise Problem(BROKEN, f"pgbackrest {name}: {said.reason}", "see the reason")

    def info(self) -> Catalogue:
        """What the repository holds, without timelines: those are a request each."""
        return catalogue(json.loads(self.ask("info", "--output=json"), strict=False), self.stanza)

    def look(self) -> Catalogue:
        """What the repository holds, with the timelines that its archive knows."""
        found = self.info()
        return replace(found, timelines=self._timelines(found)) if found.archive_id else found

    def _timelines(self, found: Catalogue) -> tuple[Timeline, ...]:
        where = f"archive/{self.stanza}/{found.archive_id}"
        listed: Mapping[str, Any] = json.loads(self.ask("repo-ls", "--output=json", about=where))
        histories = {name: entry for name, entry in listed.items() if name.endswith(".history")}
        lines = {1: Timeline(1)}
        for name, entry in sorted(histories.items()):
            number = int(name[:8], 16)
            text = self.ask("repo-get", about=f"{where}/{name}")
            lines[number] = Timeline(number, forks(text), float(entry.get("time") or 0))
        return tuple(lines[number] for number in sorted(lines))

    def missing_segments(self, found: Catalogue) -> list[Hole]:
        """Holes in the archive, which `verify` says nothing of."""
        where = f"archive/{self.stanza}/{found.archive_id}"
        listed = json.loads(self.ask("repo-ls", "--recurse", "--output=json", about=where, seconds=3600))
        return missing_segments(listed)

    def archived(self, found: Catalogue) -> float:
        """When the newest WAL segment came in, in seconds since the epoch; 0 when there is none."""
        if not found.archive_maximum:
            return 0.0
        # The highest name need not be the newest: a timeline that a failed restore began may have been left again.
        where = f"archive/{self.stanza}/{found.archive_id}"
        listed: Mapping[str, Any] = json.loads(self.ask("repo-ls", "--output=json", about=where))
        last = {name[:8]: name for name in sorted(listed) if len(name) == 16}
        times = [self._newest(f"{where}/{name}") for name in last.values()]
        return max(times, default=0.0)

    def _newest(self, where: str) -> float:
        listed: Mapping[str, Any] = json.loads(self.ask("repo-ls", "--output=json", about=where))
        return max((float(entry.get("time") or 0) for entry in listed.values()), default=0.0)

    def stanza_create(self) -> None:
        self.ask("stanza-create", seconds=CHECK_SECONDS)

    def check(self) -> None:
        """A WAL segment goes all the way into the repository."""
        self.ask("check", f"--archive-timeout={ARCHIVE_SECONDS}", seconds=CHECK_SECONDS)

    def verify(self, seconds: float) -> Said:
        return self.execute(self.command("verify", "--log-level-console=off", "--output=text", "--verbose"), seconds)
