"""Running commands: one place that echoes, checks and explains a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
STATE = CHECKOUT / ".lab"
STARTED = time.monotonic()


class LabError(Exception):
    """A condition the operator can mend; its text says how."""


def say(text: str) -> None:
    print(f"lab {time.monotonic() - STARTED:5.1f}s  {text}", flush=True)


def run(
    command: Sequence[str], *, stdin: str | None = None, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=env)
    if check and result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-25:])
        raise LabError(f"command failed ({result.returncode}): {' '.join(command)}\n{tail}")
    return result


def stream(command: Sequence[str], log: Path, *, env: dict[str, str] | None = None) -> None:
    """Runs a long command with its output in a file; shows the file's end when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        result = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False, env=env)
    if result.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise LabError(f"command failed ({result.returncode}): {' '.join(command)}\n{tail}\nwhole output: {log}")


def as_root(command: Sequence[str]) -> list[str]:
    if os.geteuid() == 0:
        return list(command)
    if shutil.which("sudo") is None:
        raise LabError(f"this needs root and there is no sudo: {' '.join(command)}")
    return ["sudo", *command]


def fail(error: LabError) -> int:
    print(f"lab: {error}", file=sys.stderr)
    return 1
