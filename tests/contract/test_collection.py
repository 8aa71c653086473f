"""The package as a user gets it: built, installed without network, its playbooks run by name."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SECRET_FILES = ("vault.yml", "vault-password")
SHIPPED = ("README.md", "LICENSE", "meta/runtime.yml", "playbooks/site.yml", "roles/app/tasks/main.yml")
KEPT_BACK = (".", "lab/", "molecule/", "tests/", "inventories/lab/")
INVENTORY = CHECKOUT / "inventories/single"


def run(command, cwd, home, path=""):
    """Runs outside of the checkout, so that its ansible.cfg and link do not help."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {**kept, "ANSIBLE_HOME": str(home), "ANSIBLE_COLLECTIONS_PATH": str(path), "ANSIBLE_NOCOLOR": "1"}
    result = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("collection")


@pytest.fixture(scope="module")
def package(scratch):
    run(["ansible-galaxy", "collection", "build", "--output-path", scratch, CHECKOUT], scratch, scratch / "home")
    return next(scratch.glob("signalbox-platform-*.tar.gz"))


@pytest.fixture(scope="module")
def installed(scratch, package):
    path = scratch / "installed"
    install = ["ansible-galaxy", "collection", "install", "--no-deps", "--offline", "-p", path, package]
    run(install, scratch, scratch / "home", path)
    return path


def test_the_package_holds_the_product_and_nothing_else(package):
    with tarfile.open(package) as archive:
        names = set(archive.getnames())
    assert set(SHIPPED) <= names
    assert [name for name in names if name.startswith(KEPT_BACK)] == []
    assert [name for name in names if Path(name).name in SECRET_FILES or "__pycache__" in name] == []


@pytest.mark.parametrize(
    "playbook", sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")), ids=lambda name: name
)
def test_every_playbook_runs_by_name(installed, scratch, playbook):
    """Roles and modules resolve, and the play's hosts are there."""
    command = ["ansible-playbook", f"signalbox.platform.{playbook}", "-i", INVENTORY, "--list-tasks"]
    listed = run(command, scratch, scratch / "home", installed)
    assert f"playbook: {installed}/ansible_collections/signalbox/platform/playbooks/{playbook}.yml" in listed
    assert "TAGS:" in listed


def test_variables_beside_the_playbooks_are_found(installed, scratch):
    """`signalbox_app_specs` is set in playbooks/group_vars and nowhere else."""
    probe = installed / "ansible_collections/signalbox/platform/playbooks/probe.yml"
    probe.write_text(
        "- hosts: app\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.debug:\n        msg: found {{ signalbox_app_specs | type_debug }}\n"
    )
    command = ["ansible-playbook", "signalbox.platform.probe", "-i", INVENTORY]
    try:
        said = run(command, scratch, scratch / "home", installed)
    finally:
        probe.unlink()
    assert "found dict" in said
