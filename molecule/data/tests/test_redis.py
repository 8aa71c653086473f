"""Redis as its clients see it."""

from __future__ import annotations

import time

import pytest
from conftest import BLUE, GREEN, wait_for


def test_slots_share_the_keys_of_their_app(client):
    assert client.redis(BLUE, "SET", "agent-api:k", "v").text == "OK"
    assert client.redis(GREEN, "GET", "agent-api:k").text == "v"
    assert client.redis(BLUE, "PUBLISH", "agent-api:events", "x").code == 0
    assert client.redis(BLUE, "INFO", "server").code == 0
    assert client.redis(BLUE, "CLIENT", "SETINFO", "LIB-NAME", "test").text == "OK"
    assert client.redis(BLUE, "EVAL", "return redis.call('GET', KEYS[1])", "1", "agent-api:k").text == "v"


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "other:k"),
        ("SET", "other:k", "v"),
        ("RENAME", "agent-api:k", "other:k"),
        ("GET", "k"),
        ("PUBLISH", "other:events", "x"),
        ("EVAL", "return redis.call('GET', 'other:k')", "0"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("RANDOMKEY",),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", "x"),
        ("MONITOR",),
        ("SHUTDOWN",),
        ("CLIENT", "KILL", "ID", "1"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "FLUSH"),
        ("MODULE", "LIST"),
        ("REPLICAOF", "NO", "ONE"),
    ],
)
def test_slot_is_held_to_its_prefix_and_its_commands(client, command):
    refused = client.redis(BLUE, *command)
    assert "NOPERM" in refused.text or "No permissions" in refused.text, refused


def test_monitor_sees_figures_and_no_keys(client):
    assert "used_memory" in client.redis("monitor", "INFO", "memory").text
    assert "NOPERM" in client.redis("monitor", "GET", "agent-api:k").text
    assert "NOPERM" in client.redis("monitor", "CONFIG", "SET", "maxmemory", "0").text


def test_wrong_password_default_user_and_no_user(client):
    assert "WRONGPASS" in client.redis(BLUE, "PING", password="wrong").text
    bare = client.host.run("timeout 5 redis-cli -e -h data.test --tls --cacert /root/ca.crt PING")
    assert "NOAUTH" in bare.stdout + bare.stderr


def test_plain_tcp_is_refused(client):
    assert client.redis(BLUE, "PING", tls="").code != 0


def test_certificate_is_verified(client):
    refused = client.host.run("timeout 5 redis-cli -h data.test --tls PING")
    assert "certificate verify failed" in (refused.stdout + refused.stderr)


def test_listens_on_the_given_address_alone(server):
    address = server.check_output("hostname -I").split()[0]
    words = server.check_output("ss -Hltnp").splitlines()
    assert [line.split()[3] for line in words if "redis" in line] == [f"{address}:6379"]


def test_settings(server):
    ask = (
        "REDISCLI_AUTH=$(cat /run/signalbox-redis/administrator) redis-cli --no-auth-warning "
        "-s /run/redis/redis-server.sock --user signalbox-administrator "
    )
    for name, value in {"maxmemory": "134217728", "maxmemory-policy": "noeviction", "appendfsync": "everysec"}.items():
        assert server.check_output(ask + f"CONFIG GET {name}").split()[1] == value
    assert "signalbox-administrator" in server.check_output(ask + "ACL LIST")


def test_limits_of_the_service(server):
    """128 MB of data; two and a half times that and 256 MB for the service."""
    show = "systemctl show --property=TasksMax,LimitNOFILE,OOMScoreAdjust,OOMPolicy,MemoryMax,Restart redis-server"
    found = dict(line.split("=", 1) for line in server.check_output(show).splitlines())
    assert found == {
        "TasksMax": "128",
        "LimitNOFILE": "65535",
        "OOMScoreAdjust": "-800",
        "OOMPolicy": "continue",
        "MemoryMax": str(576 * 1048576),
        "Restart": "always",
    }


def test_administrators_password_is_for_root_alone(server):
    found = server.file("/run/signalbox-redis/administrator")
    assert (found.user, found.mode) == ("root", 0o600)
    assert server.run("runuser -u redis -- cat /run/signalbox-redis/administrator").rc != 0
    assert server.file("/etc/redis/users.acl").mode == 0o640


def test_what_was_written_a_second_ago_survives_a_kill(server, client):
    before = server.check_output("systemctl show -P MainPID redis-server")
    assert client.redis(BLUE, "SET", "agent-api:kill", before).text == "OK"
    time.sleep(1.5)
    server.check_output(f"kill -9 {before}")
    assert wait_for(lambda: client.redis(BLUE, "GET", "agent-api:kill").text == before)
    assert server.check_output("systemctl show -P MainPID redis-server") != before
