"""From a failure to a message at a receiver, and back; who is told what; and who may read."""

from __future__ import annotations

import json
import time

import pytest
import testinfra

testinfra_hosts = ["ansible://mon1"]

AMTOOL = "amtool"
ROUTES = "amtool config routes test --config.file=/etc/prometheus/alertmanager.yml"
PORTS = {"serve1": (9100, 9256, 9187, 9121, 9145), "mon1": (9100, 9256)}


def eventually(check, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.5)
    return found


def query(host, expression):
    command = f"curl -s --get --data-urlencode {json.dumps('query=' + expression)} http://127.0.0.1:9090/api/v1/query"
    return json.loads(host.check_output(command.replace("$", "\\$")))["data"]["result"]


def messages(host, path):
    lines = host.check_output("cat /run/alerts").splitlines()
    return [message for message in map(json.loads, lines) if message["path"] == f"/{path}"]


def told(host, path, name, status):
    """The newest alert of this name that came to the receiver, if it has this status."""
    found = [
        alert for message in messages(host, path) for alert in message["alerts"] if alert["labels"]["alertname"] == name
    ]
    return found[-1] if found and found[-1]["status"] == status else None


@pytest.fixture(scope="module")
def serve(host):
    return testinfra.get_host("docker://serve1")


def address(host):
    return host.check_output("hostname -I").split()[0]


def test_everything_is_read(host):
    def down():
        return [sample["metric"] for sample in query(host, "up") if sample["value"][1] != "1"]

    eventually(lambda: down() == [])
    jobs = {sample["metric"]["job"] for sample in query(host, "up")}
    assert jobs >= {
        "node",
        "process",
        "postgresql",
        "redis",
        "edge",
        "prometheus",
        "alertmanager",
        "blackbox",
        "app_health",
    }
    for metric in ("pg_up", "redis_up", "probe_success"):
        assert [sample["value"][1] for sample in query(host, metric)] == ["1"], metric


def test_who_shows_no_certificate_reads_nothing(host, serve):
    for place, name in ((serve, "serve1"), (host, "mon1")):
        for port in PORTS[name]:
            url = f"https://{address(place)}:{port}/metrics"
            certificate = "--cert /run/signalbox-telemetry/host.crt --key /run/signalbox-telemetry/host.key"
            curl = "curl -s -o /dev/null -w %{http_code} --insecure --max-time 10"
            assert host.run(f"{curl} {certificate} {url}").stdout == "200", url
            assert host.run(f"{curl} {url}").stdout in ("000", "400"), url
            assert host.run(f"curl -sf --max-time 10 http://{address(place)}:{port}/metrics").rc != 0, url
            # A certificate alone does not do: it must be of the platform's authority.
            host.check_output(
                "test -e /root/other.crt || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
                " -days 1 -subj /CN=other -keyout /root/other.key -out /root/other.crt 2> /dev/null"
            )
            assert host.run(f"{curl} --cert /root/other.crt --key /root/other.key {url}").stdout in ("000", "400"), url


def test_nothing_else_listens_for_others(host, serve):
    for place in (host, serve):
        found = place.check_output("ss -Hltnp").splitlines()
        own = [line.split()[3] for line in found if "prometheus" in line]
        assert own, "exporters listen"
        allowed = ("127.0.0.1:", f"{address(place)}:")
        assert [where for where in own if not where.startswith(allowed)] == []
    everywhere = [line.split()[3] for line in host.check_output("ss -Hltn").splitlines()]
    loopback = [where for where in everywhere if where.endswith((":9090", ":9093", ":9094", ":9115"))]
    assert sorted(loopback) == ["127.0.0.1:9090", "127.0.0.1:9093", "127.0.0.1:9115"]


def test_certificates_and_releases_are_measured(host, serve):
    end = query(host, 'signalbox_certificate_not_after_timestamp_seconds{host="serve1",name="edge"} - time()')
    assert 80 * 86400 < float(end[0]["value"][1]) < 91 * 86400
    assert query(host, 'signalbox_release_success{app="shop"}')[0]["value"][1] == "0"
    assert eventually(lambda: told(host, "chat", "ReleaseFailed", "firing"))["labels"]["app"] == "shop"
    ledger = "/var/lib/signalbox/releases/shop/ledger.jsonl"
    serve.check_output(f"""echo '{{"result": "committed", "time": "2026-11-27T12:00:00.000Z"}}' >> {ledger}""")
    eventually(lambda: told(host, "chat", "ReleaseFailed", "resolved"))


def test_a_failure_arrives_with_its_labels_and_runbook_and_resolves(host, serve):
    serve.check_output("systemctl stop slot@blue slot@green")
    try:
        alert = eventually(lambda: told(host, "pager", "AppHealthFailing", "firing"))
    finally:
        serve.check_output("systemctl start slot@blue slot@green")
    labels = {
        "alertname": "AppHealthFailing",
        "severity": "critical",
        "owner": "api-team",
        "app": "shop",
        "host": "serve1",
    }
    assert labels.items() <= alert["labels"].items()
    assert alert["labels"]["environment"] == "test"
    assert alert["annotations"]["runbook_url"] == "https://example.com/runbooks/app-health.md"
    assert alert["annotations"]["summary"].startswith("shop does not answer https://")
    assert "AppHealthFailing" in str(messages(host, "pager"))
    assert "AppHealthFailing" not in str(messages(host, "chat")), "the route takes it"
    eventually(lambda: told(host, "pager", "AppHealthFailing", "resolved"))


def test_the_dead_man_hears_all_the_time(host):
    before = len(messages(host, "outside"))
    eventually(lambda: len(messages(host, "outside")) >= before + 2, 30)
    newest = messages(host, "outside")[-1]["alerts"]
    assert [alert["labels"]["alertname"] for alert in newest] == ["Watchdog"]


@pytest.mark.parametrize(
    ("receiver", "labels"),
    [
        ("outside", "alertname=Watchdog severity=none"),
        ("nobody", "alertname=SlotDraining severity=none app=a slot=blue"),
        ("pager", "alertname=HostDown severity=critical owner=operations"),
        ("duty", "alertname=HostDown severity=critical owner=duty-team"),
        ("slack,pager", "alertname=HostDown severity=critical owner=slack-team"),
        ("mail", "alertname=X severity=critical owner=nobody-has-this"),
        ("chat", "alertname=HostMemoryLow severity=warning owner=operations"),
    ],
)
def test_routes(host, receiver, labels):
    found = host.run(f"{ROUTES} --verify.receivers={receiver} {labels}")
    assert found.rc == 0, found.stdout + found.stderr


def test_a_draining_slot_and_what_follows_from_a_lost_host_are_muted(host):
    def add(name, *labels):
        host.check_output(f"{AMTOOL} alert add alertname={name} {' '.join(labels)}")

    add("SlotDraining", "severity=none", "app=muted", "slot=blue")
    add("SlotDrainStuck", "severity=warning", "app=muted", "slot=blue")
    add("HostDown", "severity=critical", "host=lost")
    for app, slot in (("muted", "blue"), ("muted", "green"), ("apart", "blue")):
        add("AppErrorsHigh", "severity=critical", f"app={app}", f"slot={slot}")
    for lost in ("lost", "well"):
        add("RedisDown", "severity=critical", f"host={lost}")

    def states():
        alerts = json.loads(host.check_output(f"{AMTOOL} alert query --inhibited --active -o json"))
        return {
            tuple(alert["labels"].get(name, "") for name in ("alertname", "app", "slot", "host")): alert["status"][
                "state"
            ]
            for alert in alerts
            if alert["labels"].get("app") in ("muted", "apart") or alert["labels"].get("host") in ("lost", "well")
        }

    expected = {
        ("SlotDraining", "muted", "blue", ""): "active",
        ("SlotDrainStuck", "muted", "blue", ""): "active",
        ("HostDown", "", "", "lost"): "active",
        ("AppErrorsHigh", "muted", "blue", ""): "suppressed",
        ("AppErrorsHigh", "muted", "green", ""): "active",
        ("AppErrorsHigh", "apart", "blue", ""): "active",
        ("RedisDown", "", "", "lost"): "suppressed",
        ("RedisDown", "", "", "well"): "active",
    }
    eventually(lambda: states() == expected, 20)


def test_secrets_of_receivers_are_sealed(host):
    seen = host.check_output(
        "cat /etc/prometheus/alertmanager.yml /etc/systemd/system/prometheus-alertmanager.service.d/signalbox.conf"
        " /etc/credstore.encrypted/signalbox-alertmanager-* /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' '"
    )
    for secret in ("slack-secret", "pagerduty-secret", "mail-secret", "127.0.0.1:9999"):
        assert secret not in seen
    assert host.file("/run/signalbox-telemetry/host.key").mode == 0o640
    assert host.file("/run/signalbox-telemetry").mode == 0o750


def test_a_renewed_certificate_is_shown_without_a_restart(host, serve):
    def shown(port):
        connect = f"openssl s_client -connect {address(serve)}:{port} < /dev/null 2> /dev/null"
        return host.run(f"{connect} | openssl x509 -noout -fingerprint").stdout

    own = serve.check_output("openssl x509 -in /etc/signalbox/tls/telemetry.crt -noout -fingerprint")
    ports = (9100, 9187, 9121)
    assert [shown(port).strip() for port in ports] == [own] * len(ports)
    pids = "systemctl show --property=MainPID --value prometheus-node-exporter prometheus-redis-exporter"
    running = serve.check_output(pids)
    files = "/etc/signalbox/tls/telemetry"
    serve.check_output(f"cp -p {files}.crt /root/kept.crt && cp -p {files}.key /root/kept.key")
    try:
        serve.check_output(f"cp /etc/signalbox/tls/data.key {files}.key && cp /etc/signalbox/tls/data.crt {files}.crt")
        other = serve.check_output("openssl x509 -in /etc/signalbox/tls/data.crt -noout -fingerprint")
        eventually(lambda: [shown(port).strip() for port in ports] == [other] * len(ports), 20)
        assert serve.check_output(pids) == running
    finally:
        serve.check_output(f"cp -p /root/kept.key {files}.key && cp -p /root/kept.crt {files}.crt")
    eventually(lambda: [shown(port).strip() for port in ports] == [own] * len(ports), 20)
