#!/usr/bin/env python3
"""Runs one molecule scenario with this checkout as the collection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def main(scenario: str, action: str = "test") -> int:
    home = CHECKOUT / ".cache/ansible"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_HOME": str(home),
        "HOME": str(home),  # molecule's playbooks leave files of their jobs in it
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "MOLECULE_GLOB": str(CHECKOUT / "molecule/*/molecule.yml"),
        "PY_COLORS": "0",
        "ANSIBLE_FORCE_COLOR": "0",
        # Tests that run plays of their own read Ansible's own output.
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
    }
    environment.pop("ANSIBLE_VAULT_PASSWORD_FILE", None)
    command = [str(Path(sys.executable).with_name("molecule")), action, "--scenario-name", scenario]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
