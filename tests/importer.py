#!/usr/bin/env python3
"""Imports the built package with galaxy-importer, as Galaxy does, in an environment of its own.

Galaxy runs ansible-test in a container; here the stage `sanity` runs it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from package import CHECKOUT, build, environment, venv

REQUIREMENTS = ("-r", "tests/importer/requirements.txt")
SETTINGS = {
    "RUN_ANSIBLE_DOC": "true",
    "RUN_ANSIBLE_LINT": "true",
    "OFFLINE_ANSIBLE_LINT": "true",
    "RUN_FLAKE8": "false",  # ruff holds the Python here, with longer lines
    "RUN_ANSIBLE_TEST": "false",
    "CHECK_CHANGELOG": "true",
    "CHECK_REQUIRED_TAGS": "true",
}
FINDING = re.compile(r"^(WARNING|ERROR|CRITICAL): ")
END = "Importer processing completed successfully"


def main() -> int:
    programs = venv(CHECKOUT / ".cache/importer", sys.executable, REQUIREMENTS)
    with tempfile.TemporaryDirectory(prefix="importer-") as name:
        scratch = Path(name)
        package = build(scratch)
        settings = {f"GALAXY_IMPORTER_{key}": value for key, value in SETTINGS.items()}
        settings["GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP"] = str(scratch / "tmp")
        done = subprocess.run(
            [str(programs / "python"), "-m", "galaxy_importer.main", str(package)],
            cwd=scratch,
            env={**environment(scratch, programs), **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    lines = done.stdout.splitlines()
    print("\n".join(line for line in lines if not line.startswith("Loading ")))
    # Every warning counts: what Galaxy would show beside the collection is mended here.
    findings = [line for line in lines if FINDING.match(line)]
    if findings:
        print(f"galaxy-importer found {len(findings)}")
    return 1 if done.returncode or findings or END not in lines else 0


if __name__ == "__main__":
    sys.exit(main())
