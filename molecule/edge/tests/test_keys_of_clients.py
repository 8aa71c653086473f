"""Keys of an app's clients: rotated with an overlap at the edge, while the app knows nothing but its own key."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
import time

import pytest
from test_edge import CONTROL, PREVIEW, address, ask, eventually, in_flight, module, traffic

testinfra_hosts = ["ansible://edge1"]

FIRST, SECOND, THIRD = (f"client-key-{name}-{name * 3}" for name in ("first", "second", "third"))
WRONG = "client-key-unknown-unknown"
OWN = {"blue": "own-key-of-blue-1", "green": "own-key-of-green-2"}
FILE = "/run/signalbox/edge/keys/keyed.json"
SEALED = "/var/lib/signalbox/edge/keys/keyed.sealed"


def keys(host, check=False, app="keyed", **arguments):
    return module(host, "traffic_keys", check, app=app, **arguments)


def put(host, **arguments):
    result = keys(host, **arguments)
    assert "msg" not in result, result["msg"]
    return result


def call(host, key=None, path="/anything", method="GET", headers=None, **more):
    sent = {**(headers or {}), **({} if key is None else {"X-API-Key": key})}
    return ask(host, path, method, headers=sent, domain="keyed.test", **more)


def status(host, key=None, path="/anything", **more):
    return call(host, key, path, **more)[0]


def code(answer):
    return json.loads(answer[2])["error"]["code"]


def preview(host, arguments):
    """The key that the app sees."""
    return json.loads(host.check_output(f"{PREVIEW} {arguments} http://keyed.test/headers")).get("x-api-key")


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@pytest.fixture(autouse=True)
def first_key_on_blue(host):
    now = json.loads(host.check_output(f"{CONTROL}/state")).get("keyed", {})
    if (now.get("weights"), now.get("mode")) != ({"blue": 100, "green": 0}, "open"):
        traffic(host, 100, 0, app="keyed", mode="open")
    internal = [preview(host, f"-H 'X-API-Key: x' -H 'X-Signalbox-Slot: {slot}'") for slot in OWN]
    if internal != list(OWN.values()) or [status(host, key) for key in (FIRST, SECOND)] != [200, 401]:
        put(host, clients={"current": FIRST}, internal=OWN)


def test_without_keys_nothing_passes_but_open_paths(host):
    assert put(host, state="absent")["changed"]
    assert not host.file(FILE).exists
    assert not host.file(SEALED).exists
    for key in (None, FIRST, WRONG):
        answer = call(host, key)
        assert (answer[0], code(answer), answer[1]["retry-after"]) == (503, "keys_not_loaded", "30")
    assert status(host, path="/headers") == status(host, path="/health") == 200
    assert not put(host, state="absent")["changed"]
    assert "no keys of the app's clients yet" in keys(host, internal=OWN)["msg"]


def test_a_rotation_with_its_overlap(host):
    assert [status(host, key) for key in (FIRST, SECOND, WRONG, None)] == [200, 401, 401, 401]
    before = json.loads(host.check_output(f"{CONTROL}/counters/keyed"))["client_keys"]
    put(host, clients={"current": FIRST, "next": SECOND})
    assert [status(host, key) for key in (FIRST, SECOND, WRONG)] == [200, 200, 401]
    put(host, clients={"current": SECOND, "previous": FIRST, "previous_expires": moment(20)})
    assert [status(host, key) for key in (FIRST, SECOND, WRONG)] == [200, 200, 401]
    metrics = host.check_output("curl -s http://127.0.0.1:9145/metrics")
    assert 'signalbox_edge_client_keys{app="keyed"} 2' in metrics
    expires = int(re.search(r'previous_expires_time_seconds{app="keyed"} (\d+)', metrics)[1])
    assert 0 < expires - time.time() <= 20
    time.sleep(expires - time.time() + 1)
    assert [status(host, key) for key in (FIRST, SECOND)] == [401, 200], "the edge itself ends the overlap"
    after = json.loads(host.check_output(f"{CONTROL}/counters/keyed"))["client_keys"]
    found = {name: after[name] - before[name] for name in after}
    assert found == {"accepted_current": 3, "accepted_next": 1, "accepted_previous": 1, "refused": 3}
    metrics = host.check_output("curl -s http://127.0.0.1:9145/metrics")
    assert 'signalbox_edge_client_keys{app="keyed"} 1' in metrics
    for name, value in after.items():
        assert f'signalbox_edge_client_key_requests_total{{app="keyed",result="{name}"}} {value}' in metrics
    assert 'client_key_requests_total{app="agent-api"' not in metrics


def test_an_emergency_refuses_the_former_key_at_once(host):
    put(host, clients={"current": SECOND, "previous": FIRST, "previous_expires": moment(3600)})
    assert status(host, FIRST) == 200
    put(host, clients={"current": SECOND})
    assert [status(host, key) for key in (FIRST, SECOND)] == [401, 200]


def test_a_refusal_says_what_is_wrong_as_json(host):
    for headers in ({}, {"Accept": "text/html"}):
        answer = call(host, WRONG, headers=headers)
        assert (answer[0], answer[1]["content-type"], code(answer)) == (401, "application/json", "unauthorized")
        assert answer[1]["www-authenticate"] == "ApiKey"
    for key in ("", " ", FIRST + "x", FIRST[:-1], FIRST.upper(), f"{FIRST}, {FIRST}", "x" * 4000, "\xff\xfe\x80"):
        assert status(host, key) == 401, key


def test_each_slot_gets_its_own_key_and_never_a_clients(host):
    for slot, weights in (("blue", (100, 0)), ("green", (0, 100))):
        traffic(host, *weights, app="keyed")
        # /headers is open: with a good key the app sees its own, without one or with a bad one it sees none.
        seen = [json.loads(call(host, key, "/headers")[2]).get("x-api-key") for key in (FIRST, None, WRONG)]
        assert seen == [OWN[slot], None, None]
    put(host, internal={"green": "own-key-of-green-3"})
    assert json.loads(call(host, FIRST, "/headers")[2])["x-api-key"] == "own-key-of-green-3"
    traffic(host, 100, 0, app="keyed")
    assert json.loads(call(host, FIRST, "/headers")[2])["x-api-key"] == OWN["blue"]
    kept = put(host, internal={"blue": "not-this", "green": "not-this-either"}, keep_internal=True)
    assert not kept["changed"]
    for port in (9001, 9002):
        seen = json.loads(host.check_output(f"curl -s http://127.0.0.1:{port}/seen"))
        assert seen
        assert all(key.startswith("own-key-of-") for key in seen), seen


def test_a_slot_whose_key_is_not_known_is_not_the_clients_fault(host):
    put(host, state="absent")
    put(host, clients={"current": FIRST}, internal={"blue": OWN["blue"]})
    assert status(host, FIRST) == 200
    traffic(host, 0, 100, app="keyed")
    answer = call(host, FIRST)
    assert (answer[0], code(answer)) == (503, "keys_not_loaded")
    assert in_flight(host, "keyed")["green"] == (0, 0)


def test_open_paths_are_open_as_written_and_in_no_other_way(host):
    assert status(host, path="/headers?a=1") == status(host, path="/health") == 200
    for path in ("/headers/", "/HEADERS", "//headers", "/x/../headers", "/%68eaders", "/x/..%2fheaders"):
        assert status(host, path=path) == 401, path
    preflight = {"Origin": "https://app.test", "Access-Control-Request-Method": "POST"}
    assert status(host, path="/x", method="OPTIONS", headers=preflight) == 200, "browsers send no key with it"
    assert status(host, path="/x", method="OPTIONS") == 401


def test_the_preview_socket_needs_no_clients_key(host):
    assert preview(host, "-H 'X-API-Key: anything'") == OWN["green"]
    assert preview(host, "-H 'X-API-Key: anything' -H 'X-Signalbox-Slot: blue'") == OWN["blue"]
    assert preview(host, "-H 'X-Signalbox-Slot: blue'") is None


def test_http2_checks_the_key_too(host):
    curl = "curl -s -o /dev/null -w '%{http_version} %{http_code}' --http2 -k --connect-to ::127.0.0.1: https://keyed.test/x"
    assert host.check_output(f"{curl} -H 'X-API-Key: {FIRST}'") == "2 200"
    assert host.check_output(f"{curl} -H 'X-API-Key: {WRONG}'") == "2 401"


class Caller(threading.Thread):
    """One keep-alive connection of a client that takes up the newest key it knows."""

    def __init__(self, where, known, stop):
        super().__init__(daemon=True)
        self.where, self.known, self.stop = where, known, stop
        self.good, self.failures = 0, []

    def run(self):
        connection = http.client.HTTPConnection(self.where, 80, timeout=10)
        while not self.stop.is_set():
            try:
                connection.request("GET", "/anything", headers={"Host": "keyed.test", "X-API-Key": self.known[-1]})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, answer.status
                self.good += 1
            except Exception as error:
                self.failures.append(repr(error))
                connection.close()


def test_no_request_fails_and_no_stream_ends_in_a_rotation(host):
    where, stop = address(host), threading.Event()
    # One learns of the new key at the end of the overlap, the other as soon as it is published.
    slow, quick = [FIRST], [FIRST]
    callers = [Caller(where, known, stop) for known in (slow, slow, quick, quick)]
    head = f"HTTP/1.1\r\nHost: keyed.test\r\nX-API-Key: {FIRST}\r\n"
    requests = (
        f"GET /events?seconds=12 {head}\r\n",
        f"GET /upgrade {head}Connection: upgrade\r\nUpgrade: test\r\n\r\n",
    )
    streams = [socket.create_connection((where, 80), timeout=30) for _ in requests]
    for stream, text in zip(streams, requests):
        stream.sendall(text.encode())
    eventually(lambda: in_flight(host, "keyed")["blue"][1] == 2)
    for caller in callers:
        caller.start()
    put(host, clients={"current": FIRST, "next": SECOND})
    put(host, clients={"current": SECOND, "previous": FIRST, "previous_expires": moment(600)})
    quick.append(SECOND)
    time.sleep(0.5)
    slow.append(SECOND)
    time.sleep(0.5)
    put(host, clients={"current": SECOND})
    assert status(host, FIRST) == 401
    time.sleep(0.5)
    stop.set()
    for caller in callers:
        caller.join()
    assert [failure for caller in callers for failure in caller.failures] == []
    assert min(caller.good for caller in callers) > 20
    events, upgraded = streams
    assert b"101 Switching" in upgraded.recv(1000)
    upgraded.sendall(b"still here")
    assert upgraded.recv(1000) == b"still here"
    content = b""
    while not content.endswith(b"0\r\n\r\n"):
        data = events.recv(65536)
        assert data, "the stream was cut"
        content += data
    assert content.count(b"data:") == 120


def test_a_repetition_changes_nothing_and_check_mode_predicts(host):
    wish = {"clients": {"current": SECOND, "previous": FIRST, "previous_expires": moment(600)}}
    planned = keys(host, check=True, **wish)
    assert planned["changed"]
    assert not planned["in_force"]
    assert status(host, SECOND) == 401
    done = put(host, **wish)
    assert done["changed"]
    assert done["in_force"]
    assert done["switched_milliseconds"] < 2000
    assert not put(host, **wish)["changed"]
    assert done["before"]["accepted"]["current"] == done["after"]["accepted"]["previous"]
    for lost in (FILE, SEALED):
        host.check_output(f"rm {lost}")
        assert put(host, **wish)["changed"]
        assert not put(host, **wish)["changed"]
    host.check_output(f"{CONTROL}/keys/keyed -X DELETE")
    host.check_output(f"rm {FILE}")
    assert status(host, SECOND) == 503
    assert put(host, internal={"blue": OWN["blue"]})["changed"], "what is not given comes from the sealed copy"
    assert status(host, SECOND) == status(host, FIRST) == 200


def test_bad_wishes_are_refused_without_their_values(host):
    for clients, part in (
        ({"current": "short"}, "16 to 512"),
        ({"current": SECOND, "previous": FIRST}, "give both or neither"),
        ({"current": SECOND, "next": SECOND}, "same key"),
    ):
        refused = keys(host, clients=clients)
        assert part in refused["msg"]
        assert clients["current"] not in json.dumps(refused)
    assert "no such app" in keys(host, app="nobody", clients={"current": SECOND})["msg"]
    assert not host.file("/var/lib/signalbox/edge/keys/nobody.sealed").exists
    old = json.loads(host.check_output(f"cat {FILE}"))
    bad = {"blue": "two words", "green": None}
    for change in ({"generation": 1, "updated": ""}, {"salt": "x"}, {"internal": bad}, {"previous_expires": 5}):
        text = json.dumps({**old, **change})
        answer = host.run(f"{CONTROL}/keys/keyed -w '%{{http_code}}' -X PUT -d @- <<'END'\n{text}\nEND").stdout
        assert answer[-3:] in ("409", "422"), answer
        assert OWN["blue"] not in answer
        assert old["accepted"]["current"] not in answer
    assert status(host, FIRST) == 200


def test_values_can_come_from_the_hosts_own_fetch(host):
    values = {"current": SECOND, "previous": "", "previous_expires": "", "next": "", "blue": "own-key-of-fetched-blue"}
    program = "/root/fetch"
    host.check_output(
        f"cat > {program} <<'END'\n#!/usr/bin/python3\nimport json, sys\n"
        f"assert sys.argv[1:] == ['fetch']\nvalues = {values!r}\n"
        "json.dump({name: values[source['key']] for name, source in json.load(sys.stdin).items()}, sys.stdout)\nEND\n"
        f"chmod 0700 {program}"
    )
    try:
        sources = {name: {"kind": "kv", "path": "apps/keyed/clients", "key": name} for name in values}
        put(host, secret_sources=sources, fetch_program=program)
        assert json.loads(call(host, SECOND, "/headers")[2])["x-api-key"] == values["blue"]
        assert status(host, FIRST) == 401
        host.check_output(f"printf '#!/bin/sh\\necho Vault is sealed >&2\\nexit 1\\n' > {program}")
        assert "Vault is sealed" in keys(host, secret_sources=sources, fetch_program=program)["msg"]
        assert status(host, SECOND) == 200
    finally:
        host.check_output(f"rm {program}")


def test_files_may_be_there_before_the_edge_is(host):
    put(host, state="absent")
    host.check_output("systemctl stop nginx")
    try:
        assert "does not answer" in keys(host, clients={"current": SECOND}, internal=OWN)["msg"]
        put(host, clients={"current": SECOND}, internal=OWN, files_only=True)
    finally:
        host.check_output("systemctl start nginx")
    assert [status(host, key) for key in (SECOND, FIRST)] == [200, 401]


def test_files_are_for_nginx_and_root_alone(host):
    for path, group, mode in ((FILE, "www-data", 0o440), (SEALED, "root", 0o400)):
        found = host.file(path)
        assert (found.user, found.group, found.mode) == ("root", group, mode)
        assert host.run(f"runuser -u nobody -- cat {path}").rc == 1
    assert host.check_output(f"stat -f -c %T {FILE}") == "tmpfs"
    assert host.run(f"runuser -u nobody -- {CONTROL}/keys/keyed").rc == 7
    shown = host.check_output(f"{CONTROL}/keys")
    held = json.loads(host.check_output(f"cat {FILE}"))
    assert OWN["blue"] not in shown
    assert held["accepted"]["current"] not in shown


def test_reload_and_restart_keep_the_keys(host):
    put(host, clients={"current": SECOND, "previous": FIRST, "previous_expires": moment(600)})
    for verb in ("reload", "restart"):
        host.check_output(f"systemctl {verb} nginx")
        eventually(lambda: host.run(f"timeout 2 {CONTROL}/health").rc == 0)
        assert [status(host, key) for key in (FIRST, SECOND, WRONG)] == [200, 200, 401]


def test_a_reboot_restores_the_keys_before_the_first_request(host):
    put(host, clients={"current": SECOND, "previous": FIRST, "previous_expires": moment(600)})
    name = host.check_output("hostname")
    subprocess.run(["docker", "restart", "--time", "10", name], check=True, capture_output=True)
    eventually(lambda: host.run(f"timeout 2 {CONTROL}/health").rc == 0, 60)
    eventually(lambda: call(host, path="/health")[0] == 200, 20)
    assert [status(host, key) for key in (FIRST, SECOND, WRONG)] == [200, 200, 401]
    found = host.file(FILE)
    assert (found.user, found.group, found.mode) == ("root", "www-data", 0o440)
    assert not put(host, internal=OWN)["changed"]


def test_a_copy_that_cannot_be_unsealed_is_told_and_mended(host):
    host.check_output(f"systemctl stop nginx signalbox-edge-keys.service; rm {FILE}; echo spoilt > {SEALED}")
    assert host.run("systemctl start signalbox-edge-keys.service").rc != 0
    assert "set the keys again" in host.check_output("journalctl -u signalbox-edge-keys.service --no-pager")
    host.check_output("systemctl start nginx")
    assert status(host, FIRST) == 503
    put(host, clients={"current": FIRST}, internal=OWN)
    assert status(host, FIRST) == 200
    host.check_output("systemctl reset-failed signalbox-edge-keys.service")


def test_no_key_of_a_client_is_anywhere_on_the_host(host):
    for key in (FIRST, SECOND, WRONG):
        call(host, key, headers={"X-Correlation-ID": "last-line"})
    log = "/var/log/signalbox-edge/access.jsonl"
    eventually(lambda: host.check_output(f"cat {log}").count("last-line") >= 3)
    lines = [json.loads(line) for line in host.check_output(f"grep last-line {log}").splitlines()[-3:]]
    found = [(line["client_key"], line["refusal"]) for line in lines]
    assert found == [("current", ""), ("", "unauthorized"), ("", "unauthorized")]
    for needle in ("client-key-", "own-key-of-"):
        hits = host.run(f"grep -rlaF {needle} /etc /home /opt /root /srv /tmp /var").stdout
        assert hits == ""
        assert host.run(f"journalctl --no-pager | grep -F {needle}").stdout == ""
    assert host.check_output("grep -rlaF client-key- /run --exclude-dir=journal | cat") == ""
    assert host.check_output("grep -rlaF own-key-of- /run --exclude-dir=journal") == FILE
