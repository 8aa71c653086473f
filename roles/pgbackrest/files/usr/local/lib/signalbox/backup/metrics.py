# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run tells: one record for people and playbooks, one file for the node exporter's textfile collector."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def replace_file(path: Path, text: str) -> None:
    """A reader sees the old file or the new one."""
    handle, fresh = tempfile.mkstemp(prefix=".", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(fresh, 0o644)
    os.replace(fresh, path)


def remember(directory: Path, name: str, record: Mapping[str, Any]) -> None:
    """The newest record of a kind, and its numbers as metrics; `signalbox-backup-metrics` hands the latter on."""
    replace_file(directory / f"{name}.json", json.dumps(record, indent=2, sort_keys=True) + "\n")
    numbers = {key: value for key, value in record.items() if isinstance(value, (int, float))}
    lines = [f"signalbox_{name}_{key} {value!r}" for key, value in sorted(numbers.items())]
    replace_file(directory / f"{name}.prom", "\n".join(lines) + "\n")


def recall(directory: Path, name: str) -> dict[str, Any]:
    """The newest record of a kind; empty when there is none."""
    try:
        found: dict[str, Any] = json.loads((directory / f"{name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One line more of a ledger."""
    with path.open("a") as file:
        file.write(json.dumps(record, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
