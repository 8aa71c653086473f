"""The life of an operator without a checkout: the built package, installed, on the older supported generation.

Python 3.11 with ansible-core 2.19 run the playbooks by name, from an empty directory without any ansible.cfg, on a lab
host that is a whole platform. The tests run in file order, each on what the one before left.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from package import CHECKOUT, build, environment, python_of, venv

TOPOLOGY = CHECKOUT / "tests/e2e/topologies/one_host"
HOST, ADDRESS, DOMAIN = "host1", "10.203.0.71", "api.lab.test"
VERSIONS = ("1.0.0", "1.1.0")
REQUIREMENTS = ("-r", "requirements.txt", "-c", "constraints.txt")
CONNECTION = """
ansible_host: "{{{{ signalbox_address }}}}"
ansible_user: root
ansible_ssh_private_key_file: {lab}/ssh/id_ed25519
ansible_ssh_common_args: -o UserKnownHostsFile={lab}/ssh/known_hosts -o StrictHostKeyChecking=yes
"""
# Where a converged platform keeps what is its own. Package lists and logs change by themselves.
STATE = (
    "dpkg-query -W | sha256sum; systemctl list-unit-files --no-legend | sort | sha256sum; cat /etc/passwd /etc/group;"
    " find /etc /usr /opt /srv /home /var/lib -xdev ! -path '/var/lib/systemd/*' ! -path '/var/lib/private/*'"
    " -printf '%p %u %m %s %l\\n' | sort"
)


@dataclass(frozen=True)
class Run:
    code: int
    output: str

    @property
    def last_screen(self) -> str:
        return "\n".join(self.output.rstrip().splitlines()[-60:])

    @property
    def unchanged(self) -> bool:
        recap = [line for line in self.output.splitlines() if "unreachable=" in line]
        return bool(recap) and all("changed=0 " in line and "failed=0 " in line for line in recap)


@dataclass(frozen=True)
class Node:
    """A control node on which the package is installed, and nothing else of ours."""

    programs: Path
    home: Path

    @property
    def inventory(self) -> Path:
        return self.home / "inventory"

    def command(self, *command: str) -> Run:
        password = {"ANSIBLE_VAULT_PASSWORD_FILE": str(CHECKOUT / ".lab/vault-password"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            [str(self.programs / command[0]), *command[1:]],
            cwd=self.home / "empty",
            env={**environment(self.home, self.programs), **password},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=1500,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def run(self, playbook: str, *arguments: str, **extra: object) -> Run:
        options = ["-e", json.dumps(extra)] if extra else []
        line = ["ansible-playbook", f"signalbox.platform.{playbook}", "-i", str(self.inventory)]
        return self.command(*line, *options, *arguments)

    def must(self, playbook: str, *arguments: str, **extra: object) -> Run:
        result = self.run(playbook, *arguments, **extra)
        assert result.code == 0, result.last_screen
        return result

    def status(self) -> dict:
        file = self.home / "status.json"
        self.must("status", status_file=str(file))
        return json.loads(file.read_text())["apps"][0]


def lab(*arguments: str) -> None:
    subprocess.run([sys.executable, str(CHECKOUT / "lab/lab.py"), *arguments], cwd=CHECKOUT, check=True)


def on_host(command: str) -> str:
    done = subprocess.run(
        ["docker", "exec", f"signalbox-{HOST}", "sh", "-c", command], capture_output=True, text=True, check=True
    )
    return done.stdout


def answer(node: Node) -> str:
    """What the API says through the edge, its certificate verified."""
    authority = node.home / "ca.crt"
    authority.write_text(on_host("cat /etc/signalbox/tls/ca.crt"))
    command = ["curl", "-fsS", "-m", "10", "--cacert", str(authority), "--resolve", f"{DOMAIN}:443:{ADDRESS}"]
    return subprocess.run([*command, f"https://{DOMAIN}/"], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    home = tmp_path_factory.mktemp("installed")
    python = python_of("3.11")
    assert python, "no Python 3.11: see tests/pythons.py"
    made = Node(venv(CHECKOUT / ".cache/core-2.19", python, REQUIREMENTS), home)
    (home / "empty").mkdir()
    installed = made.command("ansible-galaxy", "collection", "install", "--offline", str(build(home)))
    assert installed.code == 0, installed.output
    variables = made.inventory / "group_vars/all"
    variables.mkdir(parents=True)
    shutil.copy(TOPOLOGY / "hosts.yml", made.inventory)
    shutil.copy(TOPOLOGY / "group_vars/all/platform.yml", variables)
    (variables / "connection.yml").write_text(CONNECTION.format(lab=CHECKOUT / ".lab"))
    lab("down", "-i", str(made.inventory))
    lab("up", "-i", str(made.inventory))
    yield made
    lab("down", "-i", str(made.inventory))


def test_the_control_node_is_the_older_generation_without_settings(node: Node) -> None:
    said = node.command("ansible", "--version").output
    assert "ansible [core 2.19." in said
    assert "python version = 3.11." in said
    assert "config file = None" in said


def test_site_without_secrets_touches_nothing(node: Node) -> None:
    refused = node.run("site")
    assert refused.code != 0
    assert "signalbox_secrets.registry.push: has no value" in refused.output
    assert "TASK [Gathering Facts]" not in refused.output


def test_check_mode_on_a_bare_host_goes_through_and_changes_nothing(node: Node) -> None:
    node.must("secrets")
    before = on_host(STATE)
    node.must("site", "--check", "--diff")
    assert on_host(STATE).splitlines() == before.splitlines()


def test_site(node: Node) -> None:
    node.must("site")


def test_second_site_changes_nothing(node: Node) -> None:
    assert node.must("site").unchanged


def test_check_mode_on_a_converged_host_finds_nothing(node: Node) -> None:
    assert node.must("site", "--check", "--diff").unchanged


def test_two_releases(node: Node) -> None:
    for version in VERSIONS:
        lab("api", version, "-i", str(node.inventory))
        node.must("deploy", version=version, bake_seconds=2)
        assert node.status()["version"] == version
        assert version in answer(node)


def test_rollback(node: Node) -> None:
    node.must("rollback")
    assert node.status()["version"] == VERSIONS[0]
    assert VERSIONS[0] in answer(node)


def test_status_is_a_table_that_a_person_reads(node: Node) -> None:
    said = node.must("status").output
    assert all(word in said for word in ("agent-api", *VERSIONS, HOST))


@pytest.mark.parametrize(
    ("playbook", "extra", "words"),
    [
        ("deploy", {"version": "latest"}, "-e version: is latest"),
        ("deploy", {"version": "1.0.0", "app": "agent_api"}, "Did you mean agent-api?"),
        ("deploy", {"verison": "1.0.0"}, "Did you mean -e version?"),
        ("rollback", {"version": "0.0.99"}, "0.0.99"),
        ("remove_app", {}, "-e app: is missing"),
    ],
)
def test_bad_input_is_refused_with_the_place_and_changes_nothing(
    node: Node, playbook: str, extra: dict[str, str], words: str
) -> None:
    refused = node.run(playbook, **extra)
    assert refused.code != 0
    assert words in refused.output, refused.last_screen
    assert node.status()["version"] == VERSIONS[0]


def test_a_value_that_the_wiring_would_hide_is_refused(node: Node) -> None:
    mine = node.inventory / "group_vars/all/mine.yml"
    mine.write_text("redis_listen_addresses: [10.203.0.71]\n")
    refused = node.run("site")
    assert refused.code != 0
    assert "variable redis_listen_addresses: is set for the group all" in refused.output
    mine.unlink()


def test_remove_app(node: Node) -> None:
    node.must("remove_app", app="agent-api", drop_database=True)
    assert on_host("docker ps --all --quiet").strip() == ""
    # The inventory still names the app, so it is shown, as one that was never released.
    left = node.status()
    assert (left["version"], left["good_releases"]) == (None, [])
    assert left["hosts"] == {HOST: {"blue": None, "green": None}}
