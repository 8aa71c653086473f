#!/usr/bin/env python3
"""Runs the stages of `make test`, `make prove` and `make bench`, and says how long each took.

Several stages of one group run at a time, in their order: what tells of a mistake soonest, then the longest first, as
most of them wait for their own lab hosts. What is under load has at most one other beside it.

stages.py test [STAGE ...]      only the named stages when given
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
LOGS = CHECKOUT / ".cache/stages"
PYTHON = sys.executable
# With --timeout (seconds for one test): a test that hangs fails with the stacks of all its threads.
PYTEST = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
SCENARIOS = ("vault", "vault_client", "edge", "backup", "standby", "state")
# Beside the end-to-end tests, which wait for Ansible most of the time.
BESIDE = ("monitoring", "data", "secrets", "app", "container_engine", "base", "certificates")

Stages = dict[str, list[str]]
Group = tuple[int, Stages]  # how many at a time
LAB = "lab"  # makes the image of the lab hosts
NEED_NO_LAB = ("unit", "lint", "contract", "sanity", "importer")


def _molecule(names: Iterable[str]) -> Stages:
    return {f"molecule {name}": [PYTHON, "tests/molecule.py", name] for name in names}


LAB_IMAGE = {LAB: [PYTHON, "lab/lab.py", "image"]}
TEST: tuple[Group, ...] = (
    (
        3,
        {
            **LAB_IMAGE,
            "unit": [*PYTEST, "--timeout", "300", "-n", "2", "tests/unit"],
            "lint": [PYTHON, "tests/lint.py"],
            "contract": [*PYTEST, "--timeout", "300", "tests/contract"],
            "sanity": [PYTHON, "tests/sanity.py"],
            "importer": [PYTHON, "tests/importer.py"],
            "installed": [*PYTEST, "--timeout", "1800", "-x", "tests/installed.py"],
            **_molecule(SCENARIOS),
            "api": [PYTHON, "tests/api.py"],
            "clean": [*PYTEST, "--timeout", "600", "-x", "tests/clean.py"],
        },
    ),
    (
        2,
        {
            "e2e": [*PYTEST, "--timeout", "1800", "--durations", "20", "tests/e2e", "-m", "not proof"],
            **_molecule(BESIDE),
        },
    ),
)
PROVE: tuple[Group, ...] = ((1, LAB_IMAGE), (1, {"proofs": [*PYTEST, "tests/e2e", "-m", "proof"]}))
BENCH: tuple[Group, ...] = ((1, {"bench": [PYTHON, "tests/bench/run.py"]}),)
Result = tuple[str, int, float]  # stage, exit code, seconds
_SCREEN = threading.Lock()
SUITES = {"test": TEST, "prove": PROVE, "bench": BENCH}


def main(arguments: list[str]) -> int:
    suite, named = SUITES[arguments[0]], arguments[1:]
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    results: list[Result] = []
    for at_once, group in suite:
        stages = {name: command for name, command in group.items() if not named or name in named}
        results += _run_group(stages, at_once)
    print("\nstage                    result   seconds")
    for name, code, seconds in results:
        print(f"{name:24} {'passed' if code == 0 else 'FAILED':8} {seconds:7.1f}")
    failed = sum(1 for _, code, _ in results if code)
    print(f"{'total, several at a time':33} {time.monotonic() - started:7.1f}\n")
    for name, code, _ in results:
        if code:
            print(f"\n{name} failed ({_log(name)}):\n{_what_failed(name)}")
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


def _run_group(stages: Stages, at_once: int) -> list[Result]:
    """Of several, the output of one that failed follows in one piece at its end: mixed it could not be read."""
    if len(stages) == 1:
        return [_run(name, command, _say) for name, command in stages.items()]

    lab_is_there = threading.Event()
    if LAB not in stages:
        lab_is_there.set()

    def run(name: str, command: list[str]) -> Result:
        if name != LAB and name not in NEED_NO_LAB:
            lab_is_there.wait()
        try:
            return show(name, command)
        finally:
            if name == LAB:
                lab_is_there.set()

    def show(name: str, command: list[str]) -> Result:
        _say(f"--- {name}: started, its output is in {_log(name)}\n")
        lines: list[str] = []
        result = _run(name, command, lines.append)
        _say("".join(lines if result[1] else lines[-1:]))
        return result

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, stages.keys(), stages.values()))


def _run(name: str, command: list[str], say: Callable[[str], object]) -> Result:
    say(f"\n=== {name}: {' '.join(command[1:])}\n")
    started = time.monotonic()
    with _log(name).open("w", buffering=1) as out:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            out.write(line)
            say(line)
        code = process.wait()
    seconds = time.monotonic() - started
    say(f"=== {name}: {'passed' if code == 0 else f'FAILED ({code})'} in {seconds:.1f} s\n")
    return name, code, seconds


def _what_failed(name: str) -> str:
    """The lines that name what failed, or the last ones; retries of a wait are no failures."""
    lines = [line for line in _log(name).read_text().splitlines() if "FAILED - RETRYING" not in line]
    named = [line for line in lines if line.startswith(("FAILED", "ERROR", "fatal:", "CRITICAL"))]
    return "\n".join((named or lines)[-40:])


def _log(name: str) -> Path:
    return LOGS / f"{name.replace(' ', '-')}.log"


def _say(text: str) -> None:
    with _SCREEN:
        print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
