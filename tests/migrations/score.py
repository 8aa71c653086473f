#!/usr/bin/env python3
"""Precision and recall on the labelled migrations: the gate with all it may know, with parts withheld, squawk, twins.

score.py [squawk]     the linter's program, where it is not beside the running Python

A case is flagged when its verdict is not run-now. Precision: how many of the flagged are labelled so. Recall: how many
that are not labelled run-now are flagged, and as hold where the label is hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / ".collections"))
sys.path.insert(0, str(HERE))

import labelled  # noqa: E402

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_squawk as squawk  # noqa: E402
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (  # noqa: E402
    HOLD,
    RUN_NOW,
    Revision,
)

WITHHELD = {
    "everything": ("catalogue", "serving", "transaction", "timeouts", "plan_caching", "role"),
    "catalogue": ("catalogue",),
    "statements of the serving release": ("serving",),
    "transaction mode": ("transaction",),
    "timeouts": ("timeouts",),
    "plan caching": ("plan_caching",),
}


@dataclass
class Score:
    """Answers against labels."""

    right: int = 0
    false_alarms: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    called_safe: list[str] = field(default_factory=list)
    flagged_rightly: int = 0
    unsafe: int = 0
    caught: int = 0
    total: int = 0

    def add(self, case: dict[str, Any], verdict: str) -> None:
        wanted = case["verdict"]
        self.total += 1
        self.right += verdict == wanted
        if wanted == RUN_NOW:
            if verdict != RUN_NOW:
                self.false_alarms.append(case["id"])
            return
        self.unsafe += 1
        self.flagged_rightly += verdict != RUN_NOW
        good = verdict == HOLD if wanted == HOLD else verdict != RUN_NOW
        self.caught += good
        if not good:
            self.missed.append(case["id"])
        if verdict == RUN_NOW:
            self.called_safe.append(case["id"])

    @property
    def precision(self) -> float:
        return self.flagged_rightly / max(self.flagged_rightly + len(self.false_alarms), 1)

    @property
    def recall(self) -> float:
        return self.caught / max(self.unsafe, 1)


def stored() -> dict[str, Any]:
    return json.loads((HERE / "catalogues.json").read_text())


def gate(without: tuple[str, ...] = (), cases: list[dict[str, Any]] | None = None) -> tuple[Score, dict[str, str]]:
    """The gate's answers, and its score."""
    data, shop, score, answers = stored(), labelled.defaults(), Score(), {}
    for case in cases if cases is not None else labelled.cases():
        answers[case["id"]] = labelled.judged(case, data, shop, without).verdict
        score.add(case, answers[case["id"]])
    return score, answers


def twins(answers: dict[str, str]) -> tuple[int, int, list[str]]:
    """Groups of cases with the same SQL and other verdicts, all of whose members are right."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in labelled.cases():
        if case.get("twin"):
            groups[case["twin"]].append(case)
    wrong = [name for name, members in groups.items() if any(answers[one["id"]] != one["verdict"] for one in members)]
    return len(groups) - len(wrong), len(groups), wrong


def _run(command: list[str], text: str) -> tuple[int, str, str]:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def squawk_alone(binary: str) -> Score:
    """What a text linter says, with the right version and transaction flags."""
    shop, score = labelled.defaults(), Score()
    for case in labelled.cases():
        if "tree" in case:
            continue
        steps = case.get("revisions") or [{"id": "one", "sql": case["sql"]}]
        revisions = [Revision(step["id"], step["sql"]) for step in steps]
        version, mode = case.get("version", shop["version"]), case.get("transaction", shop["transaction"])
        remarks = squawk.Squawk(binary, _run).lint(revisions, version, mode)
        score.add(case, HOLD if any(one.rule in squawk.HAZARDS_OF for one in remarks) else RUN_NOW)
    return score


def line(name: str, score: Score) -> str:
    return (
        f"{name:52} precision {score.precision:.3f}  recall {score.recall:.3f}  right {score.right}/{score.total}  "
        f"unsafe called run-now {len(score.called_safe)}"
    )


def main(arguments: list[str]) -> int:
    score, answers = gate()
    print(line("static, with context", score))
    for name in (*score.false_alarms, *score.missed):
        print(f"  {name}: {answers[name]}")
    for name, parts in WITHHELD.items():
        print(line(f"static, without {name}", gate(parts)[0]))
    binary = next(
        (one for one in (Path(sys.executable).with_name("squawk"), *map(Path, arguments)) if one.is_file()), None
    )
    print(line("squawk alone", squawk_alone(str(binary))) if binary else "squawk alone: not installed")
    whole, groups, wrong = twins(answers)
    told = f" wrong: {', '.join(wrong)}" if wrong else ""
    print(f"twins: {whole} of {groups} groups right ({whole / groups:.3f}){told}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
