"""Secrets as an operator gets at them: from Vault by its playbook, or from the inventory's vault file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hosts import VAULT_PASSWORD, variables_of
from shell import CHECKOUT, LabError


def read(inventories: list[Path], scope: str, name: str) -> str:
    """One secret. Raises LabError where it has no value yet."""
    if _has_vault(inventories):
        return _from_vault(inventories, scope, name)
    known = next(iter(variables_of(inventories).values())).get("signalbox_secrets", {}).get(scope, {})
    if name not in known:
        raise LabError(f"{scope}/{name} has no value yet: run `make lab` (playbooks/secrets.yml makes it)")
    return str(known[name])


def _has_vault(inventories: list[Path]) -> bool:
    return "hosts (0)" not in _run("ansible", ["vault", "--list-hosts"], inventories)


def _from_vault(inventories: list[Path], scope: str, name: str) -> str:
    with tempfile.TemporaryDirectory(prefix="signalbox-secret-") as folder:
        target = Path(folder) / "value"
        playbook = str(CHECKOUT / "playbooks/read_secret.yml")
        _run("ansible-playbook", [playbook, "-e", f"secret={scope}/{name}", "-e", f"to={target}"], inventories)
        return target.read_text()


def _run(program: str, arguments: list[str], inventories: list[Path]) -> str:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    command += [part for inventory in inventories for part in ("-i", str(inventory))]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_VAULT_PASSWORD_FILE": str(VAULT_PASSWORD),
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT, env=environment)
    if done.returncode != 0:
        raise LabError(f"{program} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
