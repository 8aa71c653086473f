"""The edge from outside: plain sockets from the controller, curl on the host where a unix socket or TLS is asked."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
import time

import pytest

testinfra_hosts = ["ansible://edge1"]

CONTROL = "curl -s --unix-socket /run/signalbox-edge/control.sock http://edge"
PREVIEW = "curl -s --unix-socket /run/signalbox-edge/preview.sock"
TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+-]+|[+-]Inf|NaN)$')


def address(host):
    return host.check_output("hostname -I").split()[0]


def module(host, name, check=False, **arguments):
    return host.ansible(f"signalbox.platform.{name}", json.dumps(arguments), check=check)


def traffic(host, blue, green, app="agent-api", **more):
    result = module(
        host,
        "traffic",
        app=app,
        weights={"blue": blue, "green": green},
        releases={"blue": "1.0.0", "green": "1.1.0"},
        **more,
    )
    assert "msg" not in result, result["msg"]
    return result


def counters(host, app="agent-api"):
    return json.loads(host.check_output(f"{CONTROL}/counters/{app}"))


def in_flight(host, app="agent-api"):
    return {slot: (v["in_flight"], v["streams_in_flight"]) for slot, v in counters(host, app)["slots"].items()}


def eventually(check, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def ask(host, path="/health", method="GET", body=None, headers=None, domain="api.test"):
    return ask_in_a_row(host, 1, path, method, body, headers, domain)[0]


def ask_in_a_row(host, times, path="/health", method="GET", body=None, headers=None, domain="api.test"):
    """As fast as one connection goes, however slow the machine is at opening one."""
    connection = http.client.HTTPConnection(address(host), 80, timeout=10)
    answers = []
    try:
        for _ in range(times):
            connection.request(method, path, body, {"Host": domain, **(headers or {})})
            answer = connection.getresponse()
            answers.append((answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()))
        return answers
    finally:
        connection.close()


def slot_of(host, **more):
    status, _headers, body = ask(host, **more)
    assert status == 200, body
    return json.loads(body)["slot"]


@pytest.fixture(autouse=True)
def open_on_blue(request, host):
    if request.node.name.split("[")[0] == "test_before_the_first_release_the_edge_says_so":
        return
    now = json.loads(host.check_output(f"{CONTROL}/state")).get("agent-api", {})
    if (now.get("weights"), now.get("mode")) != ({"blue": 100, "green": 0}, "open"):
        traffic(host, 100, 0, mode="open", retry_after_seconds=30)


def test_before_the_first_release_the_edge_says_so(host):
    for app in ("agent-api", "keyed", "public", "limited", "broken"):
        module(host, "traffic", app=app, state="absent")
    status, headers, body = ask(host)
    assert (status, headers["retry-after"], headers["content-type"]) == (503, "30", "application/json")
    assert json.loads(body)["error"]["code"] == "no_release"
    status, headers, body = ask(host, headers={"Accept": "text/html,*/*"})
    assert status == 503
    assert headers["content-type"] == "text/html"
    assert b"No release of this service is live yet" in body


def test_switching_and_its_idempotence(host):
    assert slot_of(host) == "blue"
    planned = module(host, "traffic", check=True, app="agent-api", weights={"blue": 0, "green": 100})
    assert planned["changed"]
    assert slot_of(host) == "blue"
    result = traffic(host, 0, 100)
    assert result["changed"]
    assert result["before"]["weights"] == {"blue": 100, "green": 0}
    assert result["switched_milliseconds"] < 1000
    assert slot_of(host) == "green"
    assert not traffic(host, 0, 100)["changed"]
    refused = module(host, "traffic", app="agent-api", weights={"blue": 100, "green": 0}, expect_generation=1)
    assert "somebody changed the traffic meanwhile" in refused["msg"]
    refused = module(host, "traffic", app="agent-api", weights={"blue": 60, "green": 60})
    assert "must sum to 100" in refused["msg"]
    refused = module(host, "traffic", app="nobody", weights={"blue": 0, "green": 100})
    assert "the edge has no such app (it has: agent-api, keyed, public, limited, broken)" in refused["msg"]
    assert slot_of(host) == "green"


def test_a_file_that_differs_from_memory_is_reconciled(host):
    host.check_output("rm /var/lib/signalbox/edge/state/agent-api.json")
    result = traffic(host, 100, 0)
    assert result["changed"]
    stored = json.loads(host.check_output("cat /var/lib/signalbox/edge/state/agent-api.json"))
    assert stored == json.loads(host.check_output(f"{CONTROL}/state/agent-api"))
    assert host.file("/var/lib/signalbox/edge/state/agent-api.json").group == "www-data"


class Client(threading.Thread):
    """One keep-alive connection that asks until it is told to stop."""

    def __init__(self, host_address, method, stop):
        super().__init__(daemon=True)
        self.host_address, self.method, self.stop = host_address, method, stop
        self.good, self.failures = 0, []

    def run(self):
        connection = http.client.HTTPConnection(self.host_address, 80, timeout=10)
        body = b"x" * 500 if self.method == "POST" else None
        while not self.stop.is_set():
            try:
                connection.request(self.method, "/echo" if body else "/health", body, {"Host": "api.test"})
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status == 200, answer.status
                assert body is None or content == body
                self.good += 1
            except Exception as error:
                self.failures.append(repr(error))
                connection.close()


def stream(host_address, seconds, results):
    with socket.create_connection((host_address, 80), timeout=seconds + 10) as connection:
        connection.sendall(f"GET /events?seconds={seconds} HTTP/1.1\r\nHost: api.test\r\n\r\n".encode())
        content = b""
        while not content.endswith(b"0\r\n\r\n"):
            data = connection.recv(65536)
            if not data:
                break
            content += data
    results.append((content.count(b"data:") == seconds * 10, len(set(re.findall(rb"data: (\w+) ", content)))))


def test_no_request_fails_and_no_stream_ends_while_slots_switch(host):
    stop, streams = threading.Event(), []
    where = address(host)
    clients = [Client(where, method, stop) for method in ("GET", "POST") for _ in range(4)]
    readers = [threading.Thread(target=stream, args=(where, 4, streams)) for _ in range(5)]
    for thread in clients + readers:
        thread.start()
    eventually(lambda: in_flight(host)["blue"][1] == 5)
    for number in range(6):
        traffic(host, 100 * (number % 2), 100 * ((number + 1) % 2))
    stop.set()
    for thread in clients + readers:
        thread.join()
    assert [failure for client in clients for failure in client.failures] == []
    assert sum(client.good for client in clients) > 200
    assert streams == [(True, 1)] * 5
    eventually(lambda: in_flight(host) == {"blue": (0, 0), "green": (0, 0)})


def test_in_flight_returns_to_zero_after_aborted_clients_and_killed_workers(host):
    requests = (
        b"GET /slow?seconds=30 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        b"GET /events?seconds=30 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        b"GET /upgrade HTTP/1.1\r\nHost: api.test\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5000\r\n\r\nstart",
    )
    for abort in (True, False):
        connections = []
        for text in requests * 5:
            connection = socket.create_connection((address(host), 80))
            connection.sendall(text)
            connections.append(connection)
        # A request whose body is not complete has a slot too: 20 in flight, of which 10 are streams.
        eventually(lambda: in_flight(host)["blue"] == (20, 10))
        if abort:
            for connection in connections:
                connection.close()
        else:
            host.run("pkill -KILL -u www-data -f 'nginx: worker'")
        eventually(lambda: in_flight(host) == {"blue": (0, 0), "green": (0, 0)})
    assert slot_of(host) == "blue"


def test_gates_tell_what_they_saw(host):
    for _ in range(30):
        ask(host, "/fail")
    with socket.create_connection((address(host), 80)) as connection:
        connection.sendall(b"GET /slow?seconds=15 HTTP/1.1\r\nHost: api.test\r\n\r\n")
        eventually(lambda: in_flight(host)["blue"][0] == 1)
        late = module(host, "traffic_gate", app="agent-api", gate="drain", slot="blue", deadline_seconds=0)
        assert late["report"]["left"] == {"in_flight": 1, "streams_in_flight": 0}
        assert "still in flight" in late["msg"]
        done = module(host, "traffic_gate", app="agent-api", gate="drain", slot="blue", deadline_seconds=60)
        assert done["report"]["verdict"] == "pass"
    quiet = module(host, "traffic_gate", app="agent-api", gate="bake", slot="blue", seconds=1)
    assert quiet["report"]["verdict"] == "inconclusive"
    assert quiet["report"]["totals"]["requests"] == 0, "what was before the window must not count"
    required = module(host, "traffic_gate", app="agent-api", gate="bake", slot="blue", seconds=1, require_traffic=True)
    assert "traffic is required" in required["msg"]
    stop = threading.Event()
    for path, verdict in (("/health", "pass"), ("/fail", "fail")):
        stop.clear()
        thread = threading.Thread(target=hammer, args=(host, path, stop))
        thread.start()
        result = module(host, "traffic_gate", app="agent-api", gate="bake", slot="blue", seconds=4)
        stop.set()
        thread.join()
        assert result["report"]["verdict"] == verdict, result["report"]


def hammer(host, path, stop):
    where = address(host)
    while not stop.is_set():
        connection = http.client.HTTPConnection(where, 80, timeout=10)
        connection.request("GET", path, headers={"Host": "api.test"})
        connection.getresponse().read()
        connection.close()
        time.sleep(0.02)


def test_weights_are_sticky_and_grow_without_moving_users(host):
    users = [f"user-{number}" for number in range(200)]
    on_green = set()
    for share in (10, 30, 60):
        traffic(host, 100 - share, share)
        now = {user for user in users if slot_of(host, headers={"X-User": user}) == "green"}
        assert on_green <= now
        assert abs(len(now) / len(users) * 100 - share) < 12
        assert now == {user for user in users if slot_of(host, headers={"X-User": user}) == "green"}
        on_green = now


def test_modes(host):
    module(host, "traffic", app="agent-api", mode="read_only", retry_after_seconds=77)
    assert ask(host, "/anything")[0] == 200
    status, headers, body = ask(host, "/echo", "POST", b"change")
    assert (status, headers["retry-after"], json.loads(body)["error"]["code"]) == (503, "77", "read_only")
    module(host, "traffic", app="agent-api", mode="closed")
    status, headers, body = ask(host, "/anything")
    assert (status, headers["retry-after"], json.loads(body)["error"]["code"]) == (503, "77", "maintenance")
    assert ask(host, "/health")[0] == 200, "the health path is served in every mode"


def test_limits(host):
    assert ask(host, "/echo", "POST", b"x" * 60000)[0] == 200
    status, _headers, body = ask(host, "/echo", "POST", b"x" * 70000)
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")
    traffic(host, 100, 0, app="limited")
    before = counters(host, "limited")
    answers = ask_in_a_row(host, 12, domain="limited.test")
    refused = [answer for answer in answers if answer[0] == 429]
    assert len(refused) >= 5
    assert refused[0][1]["retry-after"] == "1"
    after = counters(host, "limited")
    assert after["refused"].get("429", 0) - before["refused"].get("429", 0) == len(refused)
    served = [sum(c["slots"]["blue"]["requests"].values()) for c in (before, after)]
    assert served[1] - served[0] == 12 - len(refused), "what the edge refused is not the slot's"
    assert in_flight(host, "limited")["blue"] == (0, 0)


def test_errors_are_the_slots_and_a_second_server_saves_the_request(host):
    traffic(host, 100, 0, app="broken")
    before = counters(host, "broken")["slots"]["blue"]
    status, _headers, body = ask(host, domain="broken.test")
    assert (status, json.loads(body)["error"]["code"]) == (502, "bad_gateway")
    eventually(lambda: counters(host, "broken")["slots"]["blue"]["errors"] == before["errors"] + 1)
    traffic(host, 0, 100, app="broken")
    assert [ask(host, domain="broken.test", method="POST", body=b"x")[0] for _ in range(4)] == [200] * 4
    green = counters(host, "broken")["slots"]["green"]
    assert green["requests"]["2xx"] >= 4
    assert green["errors"] >= 1


def test_headers_to_the_app(host):
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = {
        "traceparent": traceparent,
        "tracestate": "a=b",
        "X-Correlation-ID": "order-17",
        "X-Forwarded-For": "6.6.6.6",
        "X-Signalbox-Slot": "green",
        "Forwarded": "for=6.6.6.6",
    }
    status, headers, body = ask(host, "/headers", headers=sent)
    got = json.loads(body)
    assert status == 200
    assert headers["x-slot"] == "blue", "the preview header means nothing in public"
    assert (got["traceparent"], got["tracestate"], got["x-correlation-id"]) == (traceparent, "a=b", "order-17")
    assert headers["x-correlation-id"] == "order-17"
    assert "6.6.6.6" not in got["x-forwarded-for"]
    assert "x-signalbox-slot" not in got
    assert "forwarded" not in got
    assert got["x-forwarded-proto"] == "http"
    assert headers["x-content-type-options"] == "nosniff"
    bad = {
        "traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "tracestate": "a=b",
        "X-Correlation-ID": "a b",
    }
    got = json.loads(ask(host, "/headers", headers=bad)[2])
    assert TRACEPARENT.match(got["traceparent"])
    assert "0" * 32 not in got["traceparent"]
    assert "tracestate" not in got
    assert re.fullmatch("[0-9a-f]{32}", got["x-correlation-id"])
    assert "connection" not in got, "an empty Connection keeps upstream connections open"


def test_tls_http2_and_unknown_hosts(host):
    curl = "curl -s --cacert /etc/signalbox/tls/api.crt --connect-to ::127.0.0.1:"
    got = host.check_output(
        f"{curl} --http2 -D - -o /dev/null -w '%{{http_version}} %{{ssl_verify_result}}' https://api.test/health"
    )
    assert got.endswith("2 0")
    assert "strict-transport-security: max-age=31536000" in got.lower()
    assert host.run(f"{curl} --tls-max 1.1 https://api.test/health").rc != 0
    assert (
        host.check_output(f"{curl} --tlsv1.2 --tls-max 1.2 -o /dev/null -w '%{{http_code}}' https://api.test/health")
        == "200"
    )
    assert host.run("curl -sk --connect-to ::127.0.0.1: https://nobody.test/").rc == 35, (
        "unknown names get no handshake"
    )
    got = host.check_output(f"{curl} -H 'Host: nobody.test' -o /dev/null -w '%{{http_code}}' https://api.test/")
    assert got == "421"
    with pytest.raises(ConnectionError):
        ask(host, domain="nobody.test")


def test_a_renewed_certificate_needs_no_reload(host):
    connect = "openssl s_client -connect 127.0.0.1:443 -servername api.test < /dev/null 2> /dev/null"
    serial = f"{connect} | openssl x509 -noout -serial"
    workers = host.check_output("pgrep -u www-data -f 'nginx: worker'")
    before = host.check_output(serial)
    host.check_output(
        "cd /etc/signalbox/tls"
        " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=api.test"
        " -addext subjectAltName=DNS:api.test -keyout new.key -out new.crt 2> /dev/null"
        " && chgrp www-data new.key && chmod 0640 new.key && mv new.key api.key && mv new.crt api.crt"
    )
    assert host.check_output(serial) != before
    assert host.check_output("pgrep -u www-data -f 'nginx: worker'") == workers


def test_preview(host):
    def preview(arguments=""):
        return json.loads(host.check_output(f"{PREVIEW} {arguments} http://api.test/health"))

    assert preview()["slot"] == "green"
    assert preview("-H 'X-Signalbox-Slot: blue'")["slot"] == "blue"
    assert preview("-H 'X-Signalbox-Slot: red'")["error"]["code"] == "no_such_slot"
    traffic(host, 0, 100)
    assert preview()["slot"] == "blue"
    module(host, "traffic", app="agent-api", mode="closed")
    assert preview()["slot"] == "blue", "modes are for the public"
    assert "x-signalbox-slot" not in json.loads(
        host.check_output(f"{PREVIEW} -H 'X-Signalbox-Slot: green' http://api.test/headers")
    )


def test_sockets_are_for_root_and_nginx_only(host):
    directory = host.file("/run/signalbox-edge")
    assert (directory.user, directory.group, directory.mode) == ("root", "www-data", 0o750)
    assert host.run(f"runuser -u nobody -- {CONTROL}/health").rc == 7


def test_metrics_are_prometheus_text(host):
    ask(host)
    text = host.check_output("curl -s http://127.0.0.1:9145/metrics")
    types, seen, values = {}, set(), {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in types
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match, line
            assert line.rsplit(" ", 1)[0] not in seen, f"twice: {line}"
            seen.add(line.rsplit(" ", 1)[0])
            name = match.group(1)
            assert name in types or re.sub("_(bucket|sum|count)$", "", name) in types, line
            values.setdefault(name, []).append((match.group(2), float(match.group(3))))
    assert types["signalbox_edge_request_duration_seconds"] == "histogram"
    buckets = [
        v for labels, v in values["signalbox_edge_request_duration_seconds_bucket"] if 'agent-api",slot="blue' in labels
    ]
    assert buckets == sorted(buckets)
    assert ('app="agent-api",slot="blue"', 100.0) in values["signalbox_edge_weight_percent"]
    assert values["signalbox_edge_workers"][0][1] >= 1
    assert host.run(f"curl -s --max-time 3 http://{address(host)}:9145/metrics").rc != 0


def test_the_access_log_is_json_without_queries(host):
    ask(host, "/health?token=hidden", headers={"X-Correlation-ID": "log-me-1"})
    log = "/var/log/signalbox-edge/access.jsonl"
    eventually(lambda: "log-me-1" in host.check_output(f"cat {log}"))
    text = host.check_output(f"cat {log}")
    assert "hidden" not in text
    line = json.loads(next(line for line in text.splitlines() if "log-me-1" in line))
    wanted = {"app": "agent-api", "slot": "blue", "release": "1.0.0", "status": 200, "path": "/health", "method": "GET"}
    assert {key: line[key] for key in wanted} == wanted
    assert float(line["upstream_time"]) >= 0
    assert host.check_output("systemctl start signalbox-edge-logrotate.service && echo rotated") == "rotated"


def test_a_full_log_disk_loses_no_counts(host):
    before = counters(host)["slots"]["blue"]["requests"]["2xx"]
    host.check_output("cd /var/log/signalbox-edge && mv access.jsonl kept && ln -s /dev/full access.jsonl")
    try:
        host.check_output("nginx -s reopen")
        for _ in range(20):
            ask(host)
            time.sleep(0.1)
        eventually(lambda: counters(host)["slots"]["blue"]["requests"]["2xx"] == before + 20)
        assert in_flight(host)["blue"] == (0, 0)
    finally:
        host.check_output("mv /var/log/signalbox-edge/kept /var/log/signalbox-edge/access.jsonl && nginx -s reopen")


def test_reload_and_restart_keep_the_slot(host):
    traffic(host, 0, 100)
    before = counters(host)
    host.check_output("systemctl reload nginx")
    assert slot_of(host) == "green"
    assert counters(host)["since"] == before["since"], "a reload keeps the counters"
    host.check_output("systemctl restart nginx")
    assert slot_of(host) == "green"
    assert counters(host)["since"] != before["since"], "a restart shows in the counters"


def test_a_killed_nginx_comes_back_with_the_slot(host):
    traffic(host, 0, 100)
    host.check_output("systemctl kill --signal=SIGKILL nginx.service")
    eventually(lambda: host.run(f"{CONTROL}/health").rc == 0)
    assert slot_of(host) == "green"


def test_a_stuck_edge_is_started_anew(host):
    traffic(host, 0, 100)
    host.check_output("systemctl stop signalbox-edge-watch.timer && pkill -STOP -u www-data -f 'nginx: worker'")
    assert host.run(f"timeout 2 {CONTROL}/health").rc != 0
    host.check_output("systemctl start signalbox-edge-watch.service")
    eventually(lambda: host.run(f"timeout 2 {CONTROL}/health").rc == 0)
    assert slot_of(host) == "green"
    host.check_output("systemctl start signalbox-edge-watch.timer")


def test_a_reboot_keeps_the_slot(host):
    traffic(host, 0, 100)
    name = host.check_output("hostname")
    subprocess.run(["docker", "restart", "--time", "10", name], check=True, capture_output=True)
    eventually(lambda: host.run(f"timeout 2 {CONTROL}/health").rc == 0, 60)
    eventually(lambda: ask(host)[0] == 200, 20)
    assert slot_of(host) == "green"


def test_timers_run(host):
    for timer in ("signalbox-edge-watch.timer", "signalbox-edge-logrotate.timer", "signalbox-edge-acme.timer"):
        assert host.service(timer).is_running
