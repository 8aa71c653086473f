"""What happens to a data host in its life: rotations, restarts, mistakes, removals. Runs last: it changes the host."""

from __future__ import annotations

import re
import subprocess

import pytest
from conftest import BLUE, GREEN, OWNER, REDIS_PASSWORDS, SQL_PASSWORDS, refusals, wait_for

ADDRESS = "{{ data_client_address }}"
AGENT = {"databases": ["agent_api"], "users": [OWNER, BLUE, GREEN], "addresses": [ADDRESS]}
AGENT_DATABASE = {
    "name": "agent_api",
    "owner_connection_limit": 5,
    "extensions": ["pgcrypto"],
    "logins": [
        {"name": BLUE, "connection_limit": 7},
        {"name": GREEN, "connection_limit": 7},
        {"name": "agent_api_check", "access": "read", "connection_limit": 3},
    ],
}


def other_removed(confirm):
    """The inputs in which the database `other` is to go."""
    return {
        "postgresql_databases": [
            AGENT_DATABASE,
            {"name": "other", "logins": [{"name": "other_blue"}], "state": "absent", "confirm": confirm},
        ],
        "postgresql_clients": [AGENT],
        "postgresql_passwords": {name: word for name, word in SQL_PASSWORDS.items() if name.startswith("agent_api")},
    }


def changed_tasks(text):
    task, found = "", []
    for line in text.splitlines():
        header = re.match(r"(?:TASK|RUNNING HANDLER) \[signalbox\.platform\.(\w+ : [^\]]+)\]", line)
        task = header.group(1) if header else task
        if line.startswith("changed:"):
            found.append(task)
    return found


def processes(server):
    return server.check_output(
        "echo $(head -1 /var/lib/postgresql/17/main/postmaster.pid) $(systemctl show -P MainPID redis-server)"
    )


@pytest.mark.usefixtures("as_converged")
def test_rotation_changes_one_role_leaks_nothing_and_restarts_nothing(server, client, admin, converge):
    before = processes(server)
    verifiers = admin("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin ORDER BY 1").text.splitlines()
    server.run(
        "rm -f /tmp/argv /tmp/stop; nohup sh -c 'while [ ! -e /tmp/stop ]; do"
        ' cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " " >>/tmp/argv; done\' >/dev/null 2>&1 &'
    )
    code, text = converge("--diff", "-vvv", DATA_TEST_SUFFIX="-rotated")
    server.run("touch /tmp/stop")
    assert code == 0, text
    assert changed_tasks(text) == [
        "postgresql : Lay out databases, roles and rights",
        "redis : Write the configuration",
        "redis : Load the users without a restart",
    ]
    after = admin("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin ORDER BY 1").text.splitlines()
    assert [line.split("|")[0] for line in set(after) - set(verifiers)] == [BLUE]

    assert client.sql(BLUE, "SELECT 1", password=SQL_PASSWORDS[BLUE] + "-rotated").text == "1"
    assert "password authentication failed" in client.sql(BLUE, "SELECT 1").text
    assert client.sql(GREEN, "SELECT 1").text == "1"
    assert client.redis(BLUE, "PING", password=REDIS_PASSWORDS[BLUE] + "-rotated").text == "PONG"
    assert "WRONGPASS" in client.redis(BLUE, "PING").text
    assert client.redis(GREEN, "PING").text == "PONG"
    assert processes(server) == before

    for secret in ["-secret-", "SCRAM-SHA-256\\$"]:
        assert server.run(f"journalctl --no-pager | grep -c -e '{secret}'").stdout.strip() == "0"
        assert server.run(f"grep -rq -e '{secret}' /var/log").rc == 1
        assert server.run(f"grep -q -e '{secret}' /tmp/argv").rc == 1
        assert secret.replace("\\", "") not in text
    assert "postgres" in server.check_output("head -c 100000 /tmp/argv"), "the process list was not watched"
    seen = admin("SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%PASSWORD%' OR query LIKE '%SCRAM%'")
    assert seen.text == "0"
    assert converge("--tags", "postgresql,redis")[0] == 0


@pytest.mark.usefixtures("as_converged")
def test_a_restart_is_deliberate(admin, server, converge):
    before = processes(server)
    code, text = converge("--tags", "postgresql", DATA_TEST_CONNECTIONS="41")
    assert code == 0, text
    assert "PostgreSQL was not restarted" in text
    assert "max_connections (40 -> 41)" in text
    assert admin("SHOW max_connections").text == "40"
    assert processes(server) == before
    # Nothing changes a second time; what waits is named again, and then let through.
    code, text = converge("--tags", "postgresql", DATA_TEST_CONNECTIONS="41")
    assert (code, changed_tasks(text)) == (0, []), text
    assert "max_connections (40 -> 41)" in text
    code, text = converge("--tags", "postgresql", DATA_TEST_CONNECTIONS="41", DATA_TEST_RESTART="yes")
    assert code == 0, text
    assert admin("SHOW max_connections").text == "41"
    assert converge("--tags", "postgresql", DATA_TEST_RESTART="yes")[0] == 0


@pytest.mark.usefixtures("as_converged")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"work_mem": "lots"}, 'invalid value for parameter "work_mem": "lots"'),
        ({"wal_buffers": "lots"}, 'invalid value for parameter "wal_buffers": "lots"'),
        ({"no_such_thing": 1}, 'unrecognized configuration parameter "no_such_thing"'),
    ],
)
def test_a_mistake_in_the_settings_leaves_the_server_as_it_was(server, client, converge, settings, message):
    before = processes(server)
    code, text = converge("--tags", "postgresql", extra={"postgresql_settings": settings})
    assert code != 0
    assert "PostgreSQL was not reloaded and serves on as before" in text
    assert message in text.replace("\\", "")
    assert client.sql(BLUE, "SELECT 1").text == "1"
    code, text = converge("--tags", "postgresql")
    assert code == 0, text
    assert processes(server) == before


@pytest.mark.usefixtures("as_converged")
def test_a_mistake_in_redis_settings_changes_nothing(server, client, converge):
    before = processes(server), server.check_output("sha256sum /etc/redis/redis.conf")
    code, text = converge("--tags", "redis", extra={"redis_settings": {"hz": "often"}})
    assert code != 0
    assert ">>> 'hz often'" in text.replace("\\", "")
    assert (processes(server), server.check_output("sha256sum /etc/redis/redis.conf")) == before
    assert client.redis(BLUE, "PING").text == "PONG"


MISTAKES = [
    ({"postgresql_listen_addresses": ["0.0.0.0"]}, "'0.0.0.0' means every address; name the private ones"),
    ({"postgresql_listen_addresses": ["8.8.8.8"]}, "'8.8.8.8' is public; use a private address"),
    ({"postgresql_memory_bytes": 1048576}, "PostgreSQL was given 1 MB of memory, and needs 256 MB"),
    ({"postgresql_disk_minimum_bytes": 10**15}, "free some room, or lower postgresql_disk_minimum_bytes"),
    ({"postgresql_tls_key_path": "/no/such.key"}, "TLS files are missing or empty: /no/such.key"),
    ({"postgresql_tls_key_path": ""}, "all three are needed to listen on"),
    ({"postgresql_data_directory": "/srv/data"}, "set the input to where the data is, or move the data first"),
    ({"postgresql_settings": {"ssl": False}}, "postgresql_settings.ssl: has an input of its own"),
    ({"postgresql_passwords": {}}, "postgresql_passwords.agent_api_blue: is missing"),
    ({"postgresql_passwords": {"nobody_known": "x" * 20}}, "no owner, login or role of this name is declared"),
    ({"postgresql_databases": [{"name": "Agent-API"}]}, "'Agent-API' must be lower-case letters"),
    (
        {"postgresql_clients": [{"databases": ["agent_api"], "users": [BLUE], "addresses": ["10.0.0.1/8"]}]},
        "postgresql_clients[0].addresses: '10.0.0.1/8' is no network",
    ),
    (other_removed("othr"), "only the database's own name confirms that its data is dropped"),
    ({"redis_memory_bytes": 10**15}, "saving may need as much again"),
    ({"redis_passwords": {}}, "redis_passwords.monitor: is missing"),
    (
        {"redis_users": [{"name": BLUE, "key_prefix": "*"}]},
        "redis_users.agent_api_blue.key_prefix: must not be empty",
    ),
    ({"redis_settings": {"rename-command": "x"}}, "redis_settings.rename-command: has an input of its own"),
    ({"redis_listen_addresses": ["::"]}, "'::' means every address"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return refusals(tmp_path_factory.mktemp("mistakes"), [inputs for inputs, _ in MISTAKES])


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[message for _, message in MISTAKES])
def test_preflight_says_what_is_wrong(answers, number):
    assert MISTAKES[number][1] in answers[number]


def test_another_major_version_is_refused(server, converge):
    server.check_output(
        "mkdir -p /etc/postgresql/15/main && echo \"data_directory = '/x'\" >/etc/postgresql/15/main/postgresql.conf"
    )
    try:
        code, text = converge("--tags", "postgresql_preflight")
    finally:
        server.check_output("rm -r /etc/postgresql/15")
    assert code != 0
    assert "a cluster main of PostgreSQL 15 exists and the role installs 17: convert it with pg_upgradecluster" in text


@pytest.mark.usefixtures("as_converged")
def test_check_mode_on_a_converged_host_tells_and_changes_nothing(admin, converge):
    code, text = converge("--check", "--diff", DATA_TEST_SUFFIX="-checked", DATA_TEST_CONNECTIONS="42")
    assert code == 0, text
    assert "+max_connections = '42'" in text
    assert "-secret-" not in text
    assert admin("SHOW max_connections").text == "40"
    assert converge("--check")[1].count("changed=0") == 2


@pytest.mark.usefixtures("as_converged")
def test_a_renewed_certificate_is_taken_without_a_restart(server, client, converge):
    before = processes(server)
    ask = {
        port: f"openssl s_client {extra} -connect data.test:{port} </dev/null 2>/dev/null | openssl x509 -noout -serial"
        for port, extra in {"5432": "-starttls postgres", "6379": ""}.items()
    }
    server.check_output(
        "cd /etc/signalbox/tls && openssl x509 -req -in data.csr -CA ca.crt -CAkey ca.key -days 2 -extfile extensions"
        " -out new.crt 2>/dev/null && mv new.crt data.crt"
    )
    serial = server.check_output("openssl x509 -noout -serial -in /etc/signalbox/tls/data.crt")
    for command in ask.values():
        assert wait_for(lambda command=command: client.host.run(command).stdout.strip() == serial, 20), command
    assert processes(server) == before
    assert client.redis(BLUE, "PING").text == "PONG"


@pytest.mark.usefixtures("as_converged")
def test_removal_keeps_the_data_until_it_is_confirmed(client, admin, converge):
    assert client.sql("other_owner", "CREATE TABLE kept AS SELECT 42 AS answer", database="other").code == 0
    code, text = converge("--tags", "postgresql", extra=other_removed(""))
    assert code == 0, text
    assert admin("SELECT count(*) FROM pg_roles WHERE rolname = 'other_blue'").text == "0"
    assert admin("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'other_owner'").text == "f"
    assert admin("SELECT answer FROM kept", "other").text == "42"
    code, text = converge("--tags", "postgresql", extra=other_removed(""))
    assert (code, changed_tasks(text)) == (0, []), text

    code, text = converge("--tags", "postgresql", extra=other_removed("other"))
    assert code == 0, text
    assert admin("SELECT count(*) FROM pg_database WHERE datname = 'other'").text == "0"
    assert admin("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'other%'").text == "0"
    code, text = converge("--tags", "postgresql", extra=other_removed("other"))
    assert (code, changed_tasks(text)) == (0, []), text
    assert client.sql(BLUE, "SELECT 1").text == "1"
    assert converge("--tags", "postgresql")[0] == 0
    assert client.sql("other_blue", "SELECT 1", database="other").text == "1"


@pytest.mark.usefixtures("as_converged")
def test_a_restart_of_the_host_brings_everything_back(server, client):
    assert client.sql(BLUE, "INSERT INTO note (body) VALUES ('before the restart')").code == 0
    assert client.redis(BLUE, "SET", "agent-api:restart", "kept").text == "OK"
    subprocess.run(["docker", "restart", "data-server"], check=True, capture_output=True)
    assert wait_for(lambda: client.sql(BLUE, "SELECT 1").text == "1")
    assert wait_for(lambda: client.redis(BLUE, "GET", "agent-api:restart").text == "kept")
    assert client.sql(BLUE, "SELECT count(*) > 0 FROM note WHERE body = 'before the restart'").text == "t"
