#!/usr/bin/env python3
"""Figures only: how long the migration gate takes for a verdict on many pending revisions.

migration_gate.py [REVISIONS] [STATEMENTS]     50 and 300 unless said otherwise; needs no host
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / ".collections"))
sys.path.insert(0, str(CHECKOUT / "tests/migrations"))

import labelled  # noqa: E402
import score  # noqa: E402

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_model as model  # noqa: E402
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_verdict as verdict  # noqa: E402

ROUNDS = 5


def main(arguments: list[str]) -> int:
    given = [int(one) for one in arguments]
    revisions, statements = (*given, *(50, 300)[len(given) :])[:2]
    shop = labelled.defaults()
    settings = model.Settings(transaction=model.EACH, lock_timeout_seconds=5, plan_caching=True, role=shop["role"])
    # Texts that differ, as those of a real app do.
    texts = shop["serving"]
    serving = [f"{texts[number % len(texts)]} /* {number} */" for number in range(statements)]
    steps = [case["sql"] for case in labelled.cases() if case.get("sql") and case["file"] in ("lock", "blue_green")]
    pending = [model.Revision(str(number), steps[number % len(steps)]) for number in range(revisions)]
    context = verdict.Context(labelled.catalogue(score.stored(), {}, shop), serving, True, settings)
    figures, cpu = [], []
    for _ in range(ROUNDS):
        started, busy = time.perf_counter(), time.process_time()
        report = verdict.judge(pending, context)
        figures.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f}, Python {platform.python_version()}")
    print(
        f"{revisions} revisions against {statements} statements: median {statistics.median(figures):.2f} s, "
        f"of CPU {statistics.median(cpu):.2f} s; {len(report.findings)} findings"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
