"""The dated report of `make prove` in docs/proofs."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping

from conftest import CHECKOUT


def record(title: str, figures: Mapping[str, object]) -> None:
    """Adds a table to today's report."""
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    report = CHECKOUT / f"docs/proofs/{today}.md"
    report.parent.mkdir(exist_ok=True)
    if not report.exists():
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
        report.write_text(f"# Proofs of {today}\n\n`make prove` on {machine}.\n")
    rows = "".join(f"| {name} | {value} |\n" for name, value in figures.items())
    with report.open("a") as out:
        out.write(f"\n## {title}\n\n| figure | value |\n|---|---|\n{rows}")
