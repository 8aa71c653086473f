"""What an operator and a stranger see of a host that role base has configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["ansible://base1"]

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = PROJECT / "molecule/base"
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
PROBE = """
import socket, sys
for port in map(int, sys.argv[2:]):
    try:
        socket.create_connection((sys.argv[1], port), timeout=2).close()
        print(port)
    except OSError:
        pass
"""


def address(name):
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return subprocess.run(
        ["docker", "inspect", "-f", template, name], check=True, capture_output=True, text=True
    ).stdout.strip()


def open_ports(observer, target, *ports):
    words = observer.check_output(f"python3 -c '{PROBE}' {target} {' '.join(map(str, ports))}")
    return set(map(int, words.split()))


@pytest.fixture
def observer():
    inventory = os.environ.get("MOLECULE_INVENTORY_FILE", str(EPHEMERAL / "inventory"))
    return testinfra.get_host("ansible://base2", ansible_inventory=inventory)


def play(**variables):
    """Runs the role on base2 over SSH as the operator does."""
    inventory = EPHEMERAL / "ssh.json"
    host = {
        "ansible_host": address("base2"),
        "ansible_connection": "ssh",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(EPHEMERAL / "operator"),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes",
        "base_ssh_guard_seconds": 12,
    }
    inventory.write_text(json.dumps({"all": {"hosts": {"base2": host}}}))
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(inventory),
        str(SCENARIO / "converge.yml"),
    ]
    for name, value in variables.items():
        command += ["-e", json.dumps({name: value})]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    }
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, " ".join(done.stdout.split())


def key(name):
    return (EPHEMERAL / f"{name}.pub").read_text().strip()


def test_every_probed_port_listens(host):
    assert open_ports(host, "127.0.0.1", 22, 8080, 8081, 9000) == {22, 8080, 8081, 9000}


def test_only_declared_ports_are_reachable_from_outside(observer):
    assert open_ports(observer, address("base1"), 22, 8080, 8081, 8443, 9000) == {22, 8080}


def test_the_guard_is_what_closes_the_published_port(host, observer):
    host.check_output("nft flush chain inet signalbox to_containers")
    try:
        assert 8081 in open_ports(observer, address("base1"), 8081)
    finally:
        host.check_output("systemctl reload signalbox-firewall")
    assert open_ports(observer, address("base1"), 8081) == set()


def test_containers_reach_the_outside(host):
    banner = host.check_output(f"docker run --rm busybox:lab /usr/bin/busybox nc -w 2 {address('base2')} 22 </dev/null")
    assert banner.startswith("SSH-2.0")


def test_foreign_tables_survive(host):
    tables = host.check_output("nft list tables").splitlines()
    assert {"table ip nat", "table ip filter", "table inet signalbox"} <= set(tables)
    assert "DOCKER_OUTPUT" in host.check_output("nft list table ip nat")


def test_nothing_can_flush_the_ruleset_at_boot(host):
    assert host.check_output("systemctl show -p LoadState --value nftables.service") == "masked"


def test_effective_ssh_settings(host):
    settings = dict(
        line.split(" ", 1)
        for line in host.check_output("sshd -T -C user=alice,host=h,addr=192.0.2.1").splitlines()
        if " " in line
    )
    assert settings["passwordauthentication"] == "no"
    assert settings["kbdinteractiveauthentication"] == "no"
    assert settings["permitrootlogin"] in ("without-password", "prohibit-password")
    assert settings["x11forwarding"] == "no"
    assert settings["authorizedkeysfile"] == "/etc/ssh/authorized_keys.d/%u"


def test_accounts(host):
    alice = host.user("alice")
    assert set(alice.groups) == {"alice", "adm", "deployers"}
    assert not host.user("bob").exists
    assert host.check_output("runuser -u alice -- sudo -n id -u") == "0"


def test_only_security_updates_and_none_of_the_platforms_services(host):
    dump = host.check_output("apt-config dump Unattended-Upgrade")
    origins = [line for line in dump.splitlines() if line.startswith("Unattended-Upgrade::Origins-Pattern::")]
    assert len(origins) == 1
    assert "Debian-Security" in origins[0]
    assert 'Unattended-Upgrade::Package-Blacklist:: "nginx";' in dump
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in dump


def test_machine_wide_settings_are_left_to_the_machine(host):
    text = host.file("/etc/sysctl.d/60-signalbox.conf").content_string
    assert "# vm.swappiness = 10 (skipped" in text
    assert host.sysctl("net.ipv4.tcp_fin_timeout") == 30
    assert host.check_output("sysctl -n net.ipv4.ip_local_reserved_ports") == "54000-54001"


def test_no_clock_daemon_where_the_clock_cannot_be_set(host):
    assert not host.package("chrony").is_installed


def test_journal_and_limits(host):
    assert host.file("/var/log/journal").is_directory
    assert "SystemMaxUse=1073741824" in host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert host.check_output("systemctl show -p DefaultLimitCORE --value") == "0"
    assert host.check_output("systemctl show -p DefaultLimitNOFILESoft --value") == "65536"


def test_host_names(host):
    assert host.check_output("getent hosts database.example.com").split()[0] == "192.0.2.7"


def test_locking_oneself_out_is_refused_with_all_remedies():
    users = [{"name": "root", "authorized_keys": []}]
    code, out = play(
        base_users=users, base_ssh_ports=[2222], base_ssh_sources=["198.51.100.0/24"], base_ssh_permit_root_login="no"
    )
    assert code != 0
    assert "root, the user Ansible connects as, would have no authorized key" in out
    assert "add its public key to base_users" in out
    assert "base_ssh_ports leaves out 22" in out
    assert "list the old and the new port" in out
    assert "base_ssh_sources leaves out" in out
    assert "create another user with sudo first" in out
    assert "changed=0" in out


def test_the_host_takes_back_what_refuses_the_operator(observer):
    users = [{"name": "root", "authorized_keys": [key("stranger")]}]
    code, out = play(base_users=users)
    assert code != 0
    assert "The old files are back and the host answers again." in out
    assert observer.file("/etc/ssh/authorized_keys.d/root").content_string.strip() == key("operator")
    code, out = play()
    assert code == 0, out
    assert "changed=0" in out


def test_a_firewall_that_shuts_ssh_can_be_taken_back(host, observer):
    config = "/etc/signalbox/nftables.conf"
    observer.check_output(f"sed -i '/comment \"SSH\"/d' {config} && nft -f {config}")
    assert open_ports(host, address("base2"), 22) == set()
    observer.check_output("/usr/local/libexec/signalbox/access-restore")
    assert open_ports(host, address("base2"), 22) == {22}


def test_files_a_killed_run_left_unproven_are_applied_and_proven(observer):
    kept = "/var/lib/signalbox/access/known-good/etc/signalbox/nftables.conf"
    observer.check_output(f"echo '# older' >> {kept}")
    code, out = play()
    assert code == 0, out
    assert "changed=1 " in out
    assert "# older" not in observer.file(kept).content_string
    code, out = play()
    assert code == 0, out
    assert "changed=0 " in out


def test_the_port_can_be_moved(observer):
    code, out = play(base_ssh_ports=[22, 2222])
    assert code == 0, out
    assert open_ports(observer, "127.0.0.1", 22, 2222) == {22, 2222}
    code, out = play()
    assert code == 0, out


def test_a_reboot_keeps_the_firewall(observer):
    subprocess.run(["docker", "restart", "base1"], check=True, capture_output=True)
    host = testinfra.get_host("ansible://base1", ansible_inventory=str(EPHEMERAL / "inventory"))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and open_ports(host, "127.0.0.1", 22, 8080, 8081) != {22, 8080, 8081}:
        time.sleep(1)
    assert open_ports(observer, address("base1"), 22, 8080, 8081) == {22, 8080}
