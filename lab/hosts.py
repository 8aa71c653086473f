"""Lab hosts: Debian 13 systemd containers, made from the hosts of an Ansible inventory."""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import images
from shell import CHECKOUT, STATE, LabError, run, say

NETWORK = "signalbox-lab"
LABEL = "platform.signalbox.lab"
KEY = STATE / "ssh/id_ed25519"
KNOWN_HOSTS = STATE / "ssh/known_hosts"
VAULT_PASSWORD = STATE / "vault-password"
VAULT_FILE = CHECKOUT / "inventories/lab/group_vars/all/vault.yml"
# Named one by one: `--privileged` fails on machines that lack any single capability.
CAPABILITIES = (
    "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE", "IPC_LOCK", "AUDIT_CONTROL", "SYSLOG", "MKNOD",
)  # fmt: skip


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    ports: tuple[str, ...] = field(default=())


def variables_of(inventories: list[Path]) -> dict[str, dict[str, Any]]:
    """Host variables of all hosts, the lab's vault file decrypted."""
    ensure_vault_password()
    environment = {**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(VAULT_PASSWORD)}
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "--list"]
    for inventory in inventories:
        command += ["-i", str(inventory)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT, env=environment)
    if result.returncode != 0:
        raise LabError(f"inventory cannot be read: {result.stderr.strip()}")
    variables: dict[str, dict[str, Any]] = json.loads(result.stdout)["_meta"]["hostvars"]
    return variables


def from_inventories(inventories: list[Path]) -> list[Host]:
    return [_host(name, values) for name, values in sorted(variables_of(inventories).items())]


def _host(name: str, values: dict[str, Any]) -> Host:
    if "signalbox_address" not in values:
        raise LabError(f"host {name} has no signalbox_address: a lab host needs its address in the inventory")
    return Host(name, str(values["signalbox_address"]), tuple(values.get("lab_published_ports", ())))


def up(hosts: list[Host]) -> None:
    images.ensure_host()
    _ensure_network(hosts)
    _ensure_key()
    missing = [host for host in hosts if not _running(host)]
    for host in missing:
        _start(host)
    with ThreadPoolExecutor(max_workers=8) as pool:
        host_keys = list(pool.map(_make_reachable, hosts))
    _remember(host_keys)
    say(f"{len(hosts)} hosts are up, {len(missing)} of them new: {' '.join(host.name for host in hosts)}")


def _remember(host_keys: list[str]) -> None:
    """Keeps the keys of other lab hosts, which may belong to another inventory of the same lab."""
    known = KNOWN_HOSTS.read_text().splitlines(keepends=True) if KNOWN_HOSTS.exists() else []
    merged = {line.split()[0]: line for line in [*known, *host_keys]}
    KNOWN_HOSTS.write_text("".join(merged.values()))


def _ensure_network(hosts: list[Host]) -> None:
    if run(["docker", "network", "inspect", NETWORK], check=False).returncode == 0:
        return
    subnet = ipaddress.ip_interface(f"{hosts[0].address}/24").network
    run(["docker", "network", "create", "--label", LABEL, "--subnet", str(subnet), NETWORK])


def _ensure_key() -> None:
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "signalbox-lab", "-f", str(KEY)])


def ensure_vault_password() -> None:
    """The lab's ansible-vault password; secrets of a lab whose password is gone are of no use."""
    if not VAULT_PASSWORD.exists():
        VAULT_FILE.unlink(missing_ok=True)
        STATE.mkdir(exist_ok=True)
        VAULT_PASSWORD.touch(mode=0o600)
        VAULT_PASSWORD.write_text(secrets.token_urlsafe(32))


def _running(host: Host) -> bool:
    found = run(["docker", "inspect", "-f", "{{.State.Running}}", f"signalbox-{host.name}"], check=False)
    if found.returncode == 0 and found.stdout.strip() != "true":
        run(["docker", "start", f"signalbox-{host.name}"])
    return found.returncode == 0


def _start(host: Host) -> None:
    options = ["--label", LABEL, "--network", NETWORK, "--ip", host.address]
    for port in host.ports:
        options += ["--publish", f"127.0.0.1:{port}"]
    boot(f"signalbox-{host.name}", host.name, *options)


def boot(container: str, name: str, *options: str) -> None:
    """Starts a container as a host with systemd."""
    command = ["docker", "run", "--detach", "--name", container, "--hostname", name, *options]
    for capability in CAPABILITIES:
        command += ["--cap-add", capability]
    command += ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
    command += ["--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/run/lock"]
    # Overlay on overlay is refused: Docker inside a host needs a volume of its own.
    command += ["--volume", "/var/lib/docker"]
    run([*command, images.HOST])


def _make_reachable(host: Host) -> str:
    """Puts the lab's key into the host and reads the host's own; returns its line for known_hosts."""
    name = f"signalbox-{host.name}"
    script = (
        "install -d -m 700 /root/.ssh && touch /root/.ssh/authorized_keys && "
        'grep -qxF "$KEY" /root/.ssh/authorized_keys || echo "$KEY" >> /root/.ssh/authorized_keys; '
        "for try in $(seq 150); do [ -s /etc/ssh/ssh_host_ed25519_key.pub ] && "
        "ss -Hltn sport = :22 | grep -q . && break; sleep 0.2; done; "
        "cat /etc/ssh/ssh_host_ed25519_key.pub"
    )
    public = KEY.with_suffix(".pub").read_text().strip()
    deadline = time.monotonic() + 60
    while True:
        result = run(["docker", "exec", "-e", f"KEY={public}", name, "sh", "-c", script], check=False)
        if result.returncode == 0 and result.stdout.startswith("ssh-ed25519"):
            return f"{host.address} {' '.join(result.stdout.split()[:2])}\n"
        if time.monotonic() > deadline:
            raise LabError(f"host {host.name} does not boot: see `docker logs {name}`\n{result.stderr.strip()}")
        time.sleep(0.5)


def down(hosts: list[Host] | None = None) -> None:
    wanted = None if hosts is None else {f"signalbox-{host.name}" for host in hosts}
    found = run(["docker", "ps", "-a", "--filter", f"label={LABEL}", "--format", "{{.Names}}"]).stdout.split()
    names = [name for name in found if wanted is None or name in wanted]
    if names:
        run(["docker", "rm", "--force", "--volumes", *names])
    if wanted is None:
        run(["docker", "network", "rm", NETWORK], check=False)
    say(f"{len(names)} hosts removed")


def remove() -> None:
    """Removes every host, those of interrupted tests included, and the networks of the lab and the tests."""
    containers = run(["docker", "ps", "--all", "--quiet", "--filter", f"label={images.LABEL}"]).stdout.split()
    if containers:
        run(["docker", "rm", "--force", "--volumes", *containers])
    networks = run(["docker", "network", "ls", "--quiet", "--filter", f"label={LABEL}"]).stdout.split()
    if networks:
        run(["docker", "network", "rm", *networks])
    say(f"{len(containers)} hosts and {len(networks)} networks removed")
