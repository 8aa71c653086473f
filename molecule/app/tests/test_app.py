"""What the role leaves on a host, and what it takes off it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://slots1"]

LIFE = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "molecule/app/life.yml"
SECRET = "life-of-a-slot"


def play(*arguments):
    """Runs the scenario's playbook; its changed count."""
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    result = subprocess.run([*command, str(LIFE), *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    changed = re.search(r"slots1 +: .*changed=(\d+)", result.stdout)
    assert changed, result.stdout
    return int(changed.group(1))


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/run/signalbox", 0o700),
        ("/run/signalbox/apps", 0o700),
        ("/var/lib/signalbox", 0o755),
        ("/var/lib/signalbox/apps", 0o750),
    ],
)
def test_directories_are_there_for_root_alone(host, path, mode):
    found = host.file(path)
    assert found.is_directory
    assert (found.user, found.group, found.mode) == ("root", "root", mode)


def test_environments_are_kept_in_memory(host):
    assert host.check_output("stat --file-system --format %T /run/signalbox/apps") == "tmpfs"


def test_directories_come_back_at_boot(host):
    found = host.file("/etc/tmpfiles.d/signalbox-apps.conf")
    assert (found.user, found.mode) == ("root", 0o644)
    host.run_expect([0], "rmdir /run/signalbox/apps")
    host.run_expect([0], "systemd-tmpfiles --create --boot")
    assert host.file("/run/signalbox/apps").mode == 0o700


def test_the_modules_library_is_there(host):
    host.run_expect([0], "/usr/bin/python3 -c 'import jmespath, psycopg2'")


def test_an_app_is_removed_and_its_neighbour_stays(host):
    def containers():
        return set(host.check_output("docker ps --all --format '{{.Names}}'").split())

    def left(app):
        return host.run(f"find /run/signalbox /var/lib/signalbox /etc/signalbox -path '*{app}*'").stdout.split()

    assert play("--skip-tags", "remove") > 0
    assert containers() == {"gone-blue", "gone-green", "kept-blue"}
    assert SECRET in host.file("/run/signalbox/apps/gone/blue.env").content_string
    kept = left("kept")
    assert kept
    assert play("--tags", "remove") == 2
    assert containers() == {"kept-blue"}
    assert left("gone") == []
    assert left("kept") == kept
    assert host.run("docker network ls --format '{{.Name}}' --filter name=gone").stdout == ""
    assert play("--tags", "remove") == 0
