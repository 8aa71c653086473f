#!/usr/bin/env python3
"""Says before anything is installed which Python is missing: `make test` runs both supported generations.

Runs with any Python and nothing installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from package import CHECKOUT, python_of

OLDER = "3.11"  # ansible-core 2.19; the newer generation and molecule need 3.12
NEWER = (3, 12)


def missing(running: tuple[int, ...], older: str | None, made: Path) -> list[str]:
    found = []
    if running < NEWER:
        found.append("Python 3.12 or newer with venv (Debian 13: apt install python3-venv; or pyenv install 3.12)")
    elif made.exists() and not any(made.glob("lib/python3.1[2-9]")):
        found.append("a .venv of Python 3.12 or newer: this one was made with 3.11, remove it")
    if older is None:
        found.append("Python 3.11 with venv (Debian 12: apt install python3-venv; or pyenv install 3.11)")
    return found


def main() -> int:
    found = missing(sys.version_info[:2], python_of(OLDER), CHECKOUT / ".venv")
    for what in found:
        print(f"make test needs {what}", file=sys.stderr)
    if found:
        print("make demo needs only one of them.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
