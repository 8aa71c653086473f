"""The dated report of `make prove` in docs/proofs."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from typing import Any

from conftest import CHECKOUT

# Of the run's begin: one that goes on past midnight is still one report.
TODAY = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()


def record(title: str, figures: Mapping[str, object]) -> None:
    """Adds a table to today's report."""
    report = CHECKOUT / f"docs/proofs/{TODAY}.md"
    report.parent.mkdir(exist_ok=True)
    if not report.exists():
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
        report.write_text(f"# Proofs of {TODAY}\n\n`make prove` on {machine}.\n")
    rows = "".join(f"| {name} | {value} |\n" for name, value in figures.items())
    with report.open("a") as out:
        out.write(f"\n## {title}\n\n| figure | value |\n|---|---|\n{rows}")


def kept(report: Mapping[str, Any]) -> dict[str, object]:
    """What the load generator saw, as rows of a table."""
    rows: dict[str, object] = {
        "requests sent": f"{report['requests']:,}",
        "failed, reset or replayed": report["failures"] + report["replayed"],
    }
    if report["streams_started"]:
        rows["streams kept (SSE and WebSocket)"] = f"{report['streams_complete']} of {report['streams_started']}"
    return rows
