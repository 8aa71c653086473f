#!/usr/bin/env python3
"""All linters; every one runs even when an earlier one found something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PLAYBOOKS = sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob("playbooks/*.yml"))
# What roles put on hosts: each is a program of its own.
BACKUP = "roles/pgbackrest/files/usr/local/lib/signalbox/backup"
STATE = "roles/restic/files/usr/local/lib/signalbox/state"
STANDBY = "roles/postgresql_standby/files/usr/local/lib/signalbox/standby"
HOST_VAULT = "roles/vault_client/files/usr/local/libexec/signalbox/host-vault"
HOST_FACTS = "roles/telemetry/files/usr/local/lib/signalbox/host-facts"
COMMANDS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy", "plugins/module_utils"],
    ["mypy", *sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob(f"{BACKUP}/*.py"))],
    ["mypy", *sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob(f"{STATE}/*.py"))],
    ["mypy", *sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob(f"{STANDBY}/*.py"))],
    ["mypy", HOST_VAULT],
    ["mypy", HOST_FACTS],
    ["yamllint", "--strict", "."],
    ["ansible-lint", "--offline", "--strict"],
    ["antsibull-changelog", "lint"],
    ["antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml"],
    ["ansible-playbook", "--syntax-check", "-i", "inventories/lab", *PLAYBOOKS],
)


def main() -> int:
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "ANSIBLE_HOME": str(CHECKOUT / ".cache/ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
    }
    environment.pop("ANSIBLE_VAULT_PASSWORD_FILE", None)  # nothing here needs a secret
    failed = []
    for command in COMMANDS:
        print(f"$ {' '.join(command)}", flush=True)
        if subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode != 0:
            failed.append(command[0])
    if failed:
        print(f"found something: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
