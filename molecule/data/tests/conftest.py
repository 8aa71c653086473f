"""Hands for the tests: SQL and Redis commands from the client host, over TLS, and fresh runs of the playbook."""

from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest
import testinfra
import yaml

SCENARIO = Path(__file__).resolve().parents[1]

OWNER, BLUE, GREEN, CHECK = "agent_api_owner", "agent_api_blue", "agent_api_green", "agent_api_check"
SQL_PASSWORDS = {
    OWNER: "owner-secret-0123456789",
    BLUE: "blue-secret-0123456789",
    GREEN: "green-secret-0123456789",
    CHECK: "check-secret-0123456789",
    "other_owner": "other-owner-secret-0123",
    "other_blue": "other-blue-secret-01234",
}
REDIS_PASSWORDS = {
    BLUE: "redis-blue-secret-0123",
    GREEN: "redis-green-secret-012",
    "other_blue": "redis-other-secret-012",
    "monitor": "redis-monitor-secret-01",
}


class Result:
    def __init__(self, command):
        self.code, self.text = command.rc, command.stdout.strip() + command.stderr.strip()

    def __repr__(self):
        return f"<{self.code}: {self.text}>"


class Client:
    """The client host."""

    def __init__(self, host):
        self.host = host

    def sql(self, user, statement, database="agent_api", password=None, tls="verify-full", name="data.test"):
        settings = {
            "PGPASSWORD": SQL_PASSWORDS[user] if password is None else password,
            "PGSSLMODE": tls,
            "PGSSLROOTCERT": "/root/ca.crt",
            "PGCONNECT_TIMEOUT": "5",
        }
        setting = " ".join(f"{key}={shlex.quote(value)}" for key, value in settings.items())
        return Result(
            self.host.run(
                f"{setting} psql -XAtw -v ON_ERROR_STOP=1 -h {name} -U {user} -d {database} -c {shlex.quote(statement)}"
            )
        )

    def redis(self, user, *command, password=None, tls="--tls --cacert /root/ca.crt --sni data.test"):
        words = " ".join(shlex.quote(word) for word in command)
        secret = shlex.quote(REDIS_PASSWORDS[user] if password is None else password)
        return Result(
            self.host.run(
                f"REDISCLI_AUTH={secret} timeout 5 redis-cli -e --no-auth-warning -h data.test {tls} "
                f"--user {user} {words}"
            )
        )


def connect(name):
    return testinfra.get_host(f"docker://{name}")


@pytest.fixture(scope="session")
def server():
    return connect("data-server")


@pytest.fixture(scope="session")
def client():
    return Client(connect("data-client"))


@pytest.fixture(scope="session")
def admin(server):
    """SQL as PostgreSQL's administrator."""

    def run(statement, database="postgres"):
        command = f"runuser -u postgres -- psql -XAt -v ON_ERROR_STOP=1 -d {database} -c {shlex.quote(statement)}"
        return Result(server.run(f"cd / && {command}"))

    return run


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        item.config.stash[FAILED] = True
    return report


def play(playbook, *arguments, extra=None, **environment):
    """Runs a playbook on the scenario's hosts; returns its exit code and text."""
    command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], *arguments]
    if extra:
        command += ["--extra-vars", json.dumps(extra)]
    done = subprocess.run(
        [*command, str(playbook)], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="session")
def converge():
    """Runs the scenario's playbook again with other inputs."""
    return functools.partial(play, SCENARIO / "converge.yml")


@pytest.fixture
def as_converged(request, converge):
    """A test that failed half way must not fail the next one; one that passed has put back what it changed."""
    if request.config.stash.get(FAILED, False):
        code, text = converge("--tags", "postgresql,redis", DATA_TEST_RESTART="yes")
        assert code == 0, text
        request.config.stash[FAILED] = False


def refusals(folder, cases):
    """What the roles' preflights say to each case of inputs, all asked in one run: starting Ansible takes longest."""
    know, bring = yaml.safe_load((SCENARIO / "converge.yml").read_text())
    answers, questions = folder / "answers.json", []
    for number, inputs in enumerate(cases):
        role = next(iter(inputs)).partition("_")[0]
        preflight = {"name": f"signalbox.platform.{role}", "tasks_from": "preflight"}
        message = {f"answer_{number}": "{{ ansible_failed_result.msg }}"}
        questions.append(
            {
                "block": [{"name": f"Case {number}", "ansible.builtin.include_role": preflight, "vars": inputs}],
                "rescue": [{"name": "Keep the message", "ansible.builtin.set_fact": message}],
            }
        )
    said = ", ".join(f"answer_{number} | default('')" for number in range(len(cases)))
    keep = {
        "name": "Hand over the messages",
        "ansible.builtin.copy": {"content": f"{{{{ [{said}] | to_json }}}}", "dest": str(answers), "mode": "0600"},
        "delegate_to": "localhost",
        "become": False,
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    }
    del bring["roles"]
    files = [str(SCENARIO / name) for name in bring.pop("vars_files")]
    playbook = folder / "mistakes.yml"
    playbook.write_text(json.dumps([know, {**bring, "vars_files": files, "tasks": [*questions, keep]}]))
    code, text = play(playbook)
    assert code == 0, text
    return json.loads(answers.read_text())


def wait_for(check, seconds=60):
    """Ask until the answer is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.5)
    return False
