"""Hands for the tests: the API through the hosts, the operators' key rings, fresh runs of the playbooks."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).resolve().parents[1]
OPERATORS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "operators"
NODES = ("vault1", "vault2", "vault3")
CREDENTIALS = "/etc/credstore.encrypted"
AUDIT_FILES = ("/srv/audit-one/vault/audit.log", "/srv/audit-two/vault/audit.log")
CHECK = "signalbox-vault-check.service"


class Node:
    """A host with Vault."""

    def __init__(self, name):
        self.name, self.host = name, testinfra.get_host(f"docker://{name}")

    def sh(self, command):
        return self.host.check_output(command)

    def run(self, command):
        return self.host.run(command)

    def api(self, *request, **more):
        """Status and answer; a standby that does not know its leader yet points elsewhere for a moment."""
        answers = []
        wait_for(lambda: answers.append(self.once(*request, **more)) or answers[-1][0] != 307, 20)
        return answers[-1]

    def once(self, method, path, body=None, token="", socket=""):
        """One request from the node to itself."""
        where = f"--unix-socket {socket} http://localhost" if socket else "https://127.0.0.1:8200"
        command = (
            f"curl -s -m 20 -X {method} --cacert /etc/signalbox/tls/ca.crt -w '\\n%{{http_code}}' {where}/v1/{path}"
        )
        if token:
            command += f" -H 'X-Vault-Token: {token}'"
        if body is not None:
            command += f" -d {shlex.quote(json.dumps(body))}"
        text, _, status = self.run(command).stdout.rpartition("\n")
        return int(status), json.loads(text) if text.strip() else {}

    def unsealed(self, identity):
        """A sealed credential of this host, opened as root can."""
        return self.sh(f"systemd-creds decrypt --name={identity} {CREDENTIALS}/{identity} - | base64 -w 0")

    def login(self):
        credential = base64.b64decode(self.unsealed("signalbox-vault-provisioner")).decode()
        status, answer = self.api("POST", "auth/approle/login", json.loads(credential))
        assert status == 200, answer
        return answer["auth"]["client_token"]

    def health(self):
        status, answer = self.api("GET", "sys/health")
        return status, answer

    def leads(self):
        status, answer = self.api("GET", "sys/leader")
        return status == 200 and answer.get("is_self", False)

    def check(self):
        """The check's verdict, and what it said this time."""
        begin = self.sh("date +%s.%N")
        code = self.run(f"systemctl start {CHECK}").rc
        return code == 0, self.sh(f"journalctl --unit {CHECK} --since=@{begin} --output cat --no-pager")

    def metric(self, name):
        lines = self.sh("cat /var/lib/prometheus/node-exporter/signalbox_vault_check.prom").splitlines()
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def main_pid(self):
        return self.sh("systemctl show --value -P MainPID signalbox-vault")

    def serial(self):
        return self.sh("openssl s_client -connect 127.0.0.1:8200 </dev/null 2>/dev/null | openssl x509 -noout -serial")


@pytest.fixture(scope="session")
def nodes():
    return [Node(name) for name in NODES]


@pytest.fixture(scope="session")
def first(nodes):
    return nodes[0]


@pytest.fixture
def leader(nodes):
    assert wait_for(lambda: any(node.leads() for node in nodes), 30)
    return next(node for node in nodes if node.leads())


def changes(text: str) -> set[str]:
    """How many changes the hosts of a run had, as its recap tells."""
    return set(re.findall(r"\bchanged=(\d+)", text))


def opened(operator, field, folder="handout"):
    """What an operator's private key makes of a handout."""
    document = json.loads((OPERATORS / folder / f"{operator}.json").read_text())
    command = ["gpg", "--batch", "--quiet", "--decrypt"]
    environment = {**os.environ, "GNUPGHOME": str(OPERATORS / "ring")}
    data = base64.b64decode(document[field])
    return subprocess.run(command, input=data, env=environment, capture_output=True, check=True).stdout.decode()


@pytest.fixture(scope="session")
def play():
    """Runs one of the scenario's playbooks; returns its exit code and text."""

    def run(name, *arguments, extra=None):
        command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], *arguments]
        if extra:
            command += ["--extra-vars", json.dumps(extra)]
        command.append(str(SCENARIO / name))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def wait_for(check, seconds=60):
    """Ask until the answer is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.3)
    return False
