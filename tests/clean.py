"""What `make clean` leaves on a machine: nothing of ours, and all that is not ours.

The machine is a lab host with a checkout and nothing else: Docker is installed on it by the lab and purged again. It
has no .venv. The tests run in file order, each on what the one before left.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import package
import pytest

sys.path.append(str(package.CHECKOUT / "lab"))
import hosts
import images

NAME = "signalbox-clean"
CHECKOUT = "/root/signalbox"
# Package lists and logs change by themselves, dpkg and systemd note what they have seen. The folder of Docker's data is
# a mount of the machine: it stays, empty and with another mode.
UNSTEADY = (
    *("/proc", "/sys", "/run", "/tmp", "/var/cache", "/var/log"),
    *("/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/lib/docker"),
)
PRUNED = " -o ".join(f"-path {path}" for path in UNSTEADY)
STATE = (
    "ls -A /var/lib/docker; dpkg-query -W; cat /etc/passwd /etc/group;"
    f" find / -xdev \\( {PRUNED} \\) -prune -o -printf '%p %u %m %l\\n' | sort"
)
# What the lab makes, by its own functions where they do not fetch a whole Debian.
MAKE = """
import pathlib, sys
sys.path.insert(0, "lab")
sys.dont_write_bytecode = True
import engine, hosts, images
from shell import run
engine.ensure()
run(["sh", "-c", "tar -C / -c usr/bin/busybox | docker import - debian:trixie"])
images.ensure_base()
source = pathlib.Path("/tmp/source")
source.mkdir()
for content in "old", "new":
    source.joinpath("Dockerfile").write_text(
        "ARG BASE\\nFROM $BASE AS first\\nRUN [\\"/usr/bin/busybox\\", \\"touch\\", \\"/first\\"]\\n"
        f"FROM $BASE\\nCOPY --from=first /first /{content}\\n"
    )
    images.build(images.HOST, source, {"BASE": images.BASE})
run(["docker", "tag", images.HOST, "127.0.0.1:5000/agent-api:1.0.0"])
hosts._ensure_network([hosts.Host("one", "10.203.0.11")])
run(["docker", "network", "create", "--label", hosts.LABEL, "molecule-data"])
for name in "signalbox-one", "interrupted":
    run(["docker", "run", "-d", "--name", name, "-v", "/data", images.HOST, "/usr/bin/busybox", "sleep", "600"])
hosts.ensure_vault_password()
hosts.VAULT_FILE.write_text("secrets")
"""
FOREIGN = (
    "docker tag debian:trixie elsewhere.test/agent-api:1.0.0",
    "docker volume create precious",
    "docker network create molecule",
    "docker run -d --name stranger --network molecule -v precious:/p debian:trixie /usr/bin/busybox sleep 600",
)
LEFT = (
    "docker ps --all --format '{{.Names}}'; docker images --all --format '{{.Repository}}:{{.Tag}}';"
    " docker network ls --format '{{.Name}}'; docker volume ls --format '{{.Name}}'"
)


def on(script: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ["docker", "exec", "-i", "-w", CHECKOUT, NAME, "sh", "-ec", script]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def must(script: str, given: str | None = None) -> str:
    done = on(script, given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The state of a machine on which the lab has made what it makes, and somebody else has used its Docker, before."""
    copy = tmp_path_factory.mktemp("clean") / "signalbox"
    package.copy(copy)
    remove = ["docker", "rm", "--force", "--volumes", NAME]
    subprocess.run(remove, capture_output=True, check=False)
    try:
        hosts.boot(NAME, "clean")
        subprocess.run(["docker", "cp", str(copy), f"{NAME}:/root/"], check=True)
        must("apt-get update -q && apt-get install -qy --no-install-recommends busybox-static make")
        state = must(STATE).splitlines()
        must("python3 -", MAKE)
        for command in FOREIGN:
            must(command)
        yield state
    finally:
        subprocess.run(remove, capture_output=True, check=False)


def test_the_machine_has_what_is_to_go(before: list[str]) -> None:
    assert must(STATE).splitlines() != before
    found = must(LEFT).split()
    assert {"signalbox-one", "interrupted", images.BASE, images.HOST, "127.0.0.1:5000/agent-api:1.0.0"} <= set(found)
    assert {"signalbox-lab", "molecule-data", "<none>:<none>"} <= set(found)


def test_what_is_not_ours_stays_and_docker_with_it(before: list[str]) -> None:
    done = on("make clean")
    assert done.returncode != 0
    for kept in (
        "container stranger",
        "image debian:trixie",
        "image elsewhere.test/agent-api:1.0.0",
        "volume precious",
    ):
        assert kept in done.stderr
    assert sorted(must(LEFT).split()) == sorted(
        [
            "stranger",
            "debian:trixie",
            "elsewhere.test/agent-api:1.0.0",
            "bridge",
            "host",
            "none",
            "molecule",
            "precious",
        ]
    )
    assert must("docker inspect -f '{{.State.Running}}' stranger").strip() == "true"
    assert "vault.yml" not in must("ls inventories/lab/group_vars/all")


def test_nothing_is_left_without_it(before: list[str]) -> None:
    must("docker rm -f stranger; docker network rm molecule; docker volume rm precious")
    must("docker rmi -f $(docker images -q)")
    assert "nothing of the lab is left" in must("make clean")
    after = must(STATE).splitlines()
    differs = [f"left: {line}" for line in sorted(set(after) - set(before))]
    differs += [f"lost: {line}" for line in sorted(set(before) - set(after))]
    assert not differs, "\n".join(differs)
