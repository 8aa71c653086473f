"""PostgreSQL as its clients see it."""

from __future__ import annotations

import pytest
from conftest import BLUE, CHECK, GREEN, OWNER, SQL_PASSWORDS, wait_for


@pytest.fixture(scope="module", autouse=True)
def table(client):
    made = client.sql(OWNER, "CREATE TABLE IF NOT EXISTS note (id bigserial PRIMARY KEY, body text NOT NULL)")
    assert made.code == 0, made


def test_slot_logs_in_over_verified_tls(client):
    found = client.sql(BLUE, "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert found.text == "t|TLSv1.3", found


def test_certificate_carries_the_name(client, server):
    address = server.check_output("hostname -I").split()[0]
    assert client.sql(BLUE, "SELECT 1", name=address).text == "1"
    client.host.run(f"grep -q wrong.test /etc/hosts || echo '{address} wrong.test' >> /etc/hosts")
    assert "does not match" in client.sql(BLUE, "SELECT 1", name="wrong.test").text


@pytest.mark.parametrize("user", [BLUE, GREEN])
def test_slot_reads_and_writes_rows_of_the_owners_tables(client, user):
    done = client.sql(
        user,
        "INSERT INTO note (body) VALUES ('a'); UPDATE note SET body = 'b'; DELETE FROM note WHERE body = 'c'; "
        "SELECT count(*) > 0 FROM note",
    )
    assert done.code == 0, done
    assert done.text.endswith("t")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE note ADD COLUMN more int",
        "DROP TABLE note",
        "TRUNCATE note",
        "CREATE INDEX ON note (body)",
        "CREATE EXTENSION hstore",
        "CREATE ROLE mine",
        "SET ROLE agent_api_owner",
        "SET ROLE agent_api_app",
        "COPY note TO PROGRAM 'true'",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_slot_changes_no_schema(client, statement):
    done = client.sql(BLUE, statement)
    assert done.code != 0
    assert "permission denied" in done.text or "must be owner" in done.text, done


def test_reader_reads_and_writes_nothing(client):
    assert client.sql(CHECK, "SELECT count(*) >= 0 FROM note").text == "t"
    assert "permission denied" in client.sql(CHECK, "INSERT INTO note (body) VALUES ('x')").text
    assert "permission denied" in client.sql(CHECK, "SELECT nextval('note_id_seq')").text


@pytest.mark.parametrize("database", ["other", "postgres", "template1"])
def test_other_databases_are_closed(client, admin, database):
    assert "pg_hba.conf" in client.sql(BLUE, "SELECT 1", database=database).text
    # And even with a line in pg_hba.conf there is no right to connect.
    assert admin(f"SELECT has_database_privilege('{BLUE}', '{database}', 'CONNECT')").text == "f"


def test_wrong_password(client):
    assert "password authentication failed" in client.sql(BLUE, "SELECT 1", password="wrong").text


def test_plain_tcp_is_refused(client):
    refused = client.sql(BLUE, "SELECT 1", tls="disable").text
    assert "no encryption" in refused, refused


def test_administrator_stays_local(client):
    SQL_PASSWORDS.setdefault("postgres", "wrong")
    assert "pg_hba.conf" in client.sql("postgres", "SELECT 1", database="postgres").text


def test_undeclared_address_is_refused(client, server):
    address = server.check_output("hostname -I").split()[0]
    own = client.host.check_output("hostname -I").split()[0]
    other = own.rsplit(".", 1)[0] + ".250"
    client.host.check_output(f"ip addr add {other}/32 dev eth0 && ip route replace {address}/32 dev eth0 src {other}")
    try:
        refused = client.sql(BLUE, "SELECT 1").text
    finally:
        client.host.check_output(f"ip route del {address}/32 dev eth0; ip addr del {other}/32 dev eth0")
    assert f'pg_hba.conf rejects connection for host "{other}"' in refused, refused


def test_limit_of_connections(admin):
    assert admin(f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{BLUE}'").text == "7"


def test_peer_logs_in_on_the_socket_as_its_role_alone(server):
    run = "cd / && runuser -u nobody -- psql -XAt -d postgres -U {} -c 'SELECT current_user'"
    assert server.run(run.format("monitor")).stdout.strip() == "monitor"
    assert server.run(run.format("postgres")).rc != 0


def test_statistics_are_there(admin):
    for database in ("agent_api", "other", "postgres"):
        assert int(admin("SELECT count(*) FROM pg_stat_statements", database).text) > 0


def test_cluster(admin):
    shown = {
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "shared_buffers": "256MB",
        "wal_level": "replica",
        "archive_mode": "off",
        "password_encryption": "scram-sha-256",
        "restart_after_crash": "on",
    }
    for name, value in shown.items():
        assert admin(f"SHOW {name}").text == value, name
    assert admin("SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'agent_api'").text == "b|C.UTF-8"
    assert admin("SELECT count(*) FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$4096:%'").text == "0"


def test_listens_on_the_given_address_alone(server):
    address = server.check_output("hostname -I").split()[0]
    listeners = server.check_output("ss -Hltn 'sport = :5432'").split()
    assert [word for word in listeners if word.endswith(":5432")] == [f"{address}:5432"]


def test_a_table_that_a_migration_restricted_stays_restricted(client, converge):
    done = client.sql(OWNER, "CREATE TABLE audit (id int); REVOKE UPDATE, DELETE ON audit FROM agent_api_app")
    assert done.code == 0, done
    code, text = converge("--tags", "postgresql")
    assert code == 0, text
    assert "changed=0" in text.split("data-server", 1)[-1].rsplit("data-server", 1)[-1]
    assert "permission denied" in client.sql(BLUE, "DELETE FROM audit").text
    assert client.sql(OWNER, "DROP TABLE audit").code == 0


def test_limits_of_the_service(server):
    """As systemd has them; a session more than the server takes must be the server's to refuse, not the kernel's."""
    show = (
        "systemctl show --property=TasksMax,LimitNOFILE,OOMScoreAdjust,OOMPolicy,MemoryMax,Restart postgresql@17-main"
    )
    found = dict(line.split("=", 1) for line in server.check_output(show).splitlines())
    assert found == {
        "TasksMax": "1024",
        "LimitNOFILE": "65536",
        "OOMScoreAdjust": "-900",
        "OOMPolicy": "continue",
        "MemoryMax": "infinity",
        "Restart": "on-failure",
    }


def test_killed_postmaster_comes_back(server, client):
    before = server.check_output("head -1 /var/lib/postgresql/17/main/postmaster.pid")
    assert client.sql(BLUE, "INSERT INTO note (body) VALUES ('before the kill')").code == 0
    server.check_output(f"kill -9 {before}")
    assert wait_for(lambda: client.sql(BLUE, "SELECT 1").text == "1")
    assert server.check_output("head -1 /var/lib/postgresql/17/main/postmaster.pid") != before
    assert client.sql(BLUE, "SELECT count(*) > 0 FROM note WHERE body = 'before the kill'").text == "t"


def test_killed_session_leaves_the_server_up(server, client):
    before = server.check_output("head -1 /var/lib/postgresql/17/main/postmaster.pid")
    server.run(
        "cd / && runuser -u postgres -- psql -XAtc 'SELECT pg_sleep(5)' & sleep 1; "
        "kill -9 $(pgrep -f '^postgres: 17/main: postgres postgres')"
    )
    assert wait_for(lambda: client.sql(BLUE, "SELECT 1").text == "1")
    assert server.check_output("head -1 /var/lib/postgresql/17/main/postmaster.pid") == before
