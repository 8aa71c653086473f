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
        ("/run/signalbox", 0o755),
        ("/run/signalbox/apps", 0o700),
        ("/var/lib/signalbox", 0o755),
        ("/var/lib/signalbox/apps", 0o750),
    ],
)
def test_directories_and_their_rights(host, path, mode):
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


def test_other_roles_directories_beside_them_stay_in_reach_after_a_boot(host):
    """The edge's workers read keys below /run/signalbox; at boot the first of two files that name a directory wins."""
    file = "/etc/tmpfiles.d/signalbox-edge.conf"
    lines = "d /run/signalbox 0755 root root -\\nd /run/signalbox/edge 0750 root www-data -\\n"
    host.run_expect([0], f"printf '{lines}' > {file}")
    try:
        host.run_expect([0], "systemd-tmpfiles --create --boot")
        host.run_expect([0], "runuser -u www-data -- ls /run/signalbox/edge")
        host.run_expect([2], "runuser -u www-data -- ls /run/signalbox/apps")
    finally:
        host.run_expect([0], f"rm -r {file} /run/signalbox/edge")


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


ASK = "curl -sS -m 5 --cacert {tls}/ca.crt --resolve slots.test:54010:{address}{who} https://slots.test:54010/health"
# Connects as the edge does, and asks when it is told to: what was connected before a reload still answers.
HELD = """
import pathlib, socket, ssl, sys, time
context = ssl.create_default_context(cafile='/etc/signalbox/tls/ca.crt')
context.load_cert_chain('/etc/signalbox/tls/edge.crt', '/etc/signalbox/tls/edge.key')
plain = socket.create_connection((sys.argv[1], 54010))
with context.wrap_socket(plain, server_hostname='slots.test') as connection:
    pathlib.Path('/run/held').touch()
    while pathlib.Path('/run/held').exists():
        time.sleep(0.05)
    connection.sendall(b'GET /health HTTP/1.0\\r\\n\\r\\n')
    print(connection.recv(200).split()[1].decode())
"""


@pytest.fixture
def address(host):
    return host.check_output("ip -4 -o address show eth0").split()[3].partition("/")[0]


@pytest.fixture
def slots(host):
    """Slots that run; what they are called is in the scenario's playbook."""
    play("--skip-tags", "remove")


def ask(host, address, who=""):
    names = f" --cert /etc/signalbox/tls/{who}.crt --key /etc/signalbox/tls/{who}.key" if who else ""
    return host.run(ASK.format(tls="/etc/signalbox/tls", address=address, who=names))


def test_only_the_edge_reaches_a_slot_and_only_over_tls(host, address, slots):
    assert ask(host, address, "edge").rc == 0
    assert ask(host, address).rc != 0
    assert ask(host, address, "other").rc != 0
    assert host.run(f"curl -sS -m 5 http://{address}:54010/health").rc != 0
    listening = host.check_output("ss -Hltn sport = :54010").splitlines()
    assert {line.split()[3] for line in listening} == {f"{address}:54010", "127.0.0.1:54010"}


def test_a_slot_that_is_away_is_refused_before_the_handshake(host, address, slots):
    """No connection (7), or none that has TLS (35).

    Had a request been sent, the edge might not send it to another host.
    """
    host.check_output("docker stop --time 0 kept-blue")
    host.check_output("sleep 1")
    assert ask(host, address, "edge").rc in (7, 35)
    host.check_output("docker start kept-blue")
    host.check_output("sleep 1")
    assert ask(host, address, "edge").rc == 0


def test_a_renewed_certificate_is_taken_and_no_connection_is_cut(host, address, slots):
    served = f"openssl s_client -connect {address}:54010 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    before = host.check_output(served)
    held = host.check_output(
        f"cat >/run/held.py <<'END'\n{HELD}END\n"
        f"systemd-run --quiet --unit held python3 /run/held.py {address} && "
        "timeout 10 sh -c 'until test -e /run/held; do sleep 0.1; done'"
    )
    assert held == ""
    host.check_output("/var/tmp/certificates.sh renew 2>&1")
    host.check_output(f'timeout 20 sh -c \'until [ "$({served})" != "{before}" ]; do sleep 0.2; done\'')
    host.check_output("rm /run/held; timeout 10 sh -c 'while systemctl is-active -q held; do sleep 0.1; done'")
    assert host.check_output("journalctl -u held -o cat").splitlines().count("200") == 1
    assert ask(host, address, "edge").rc == 0


def test_it_is_back_after_a_crash(host, address, slots):
    host.check_output("systemctl kill --signal=KILL haproxy")
    host.check_output(f"timeout 10 sh -c 'until ss -Hltn | grep -q {address}:54010; do sleep 0.1; done'; sleep 1")
    assert ask(host, address, "edge").rc == 0
