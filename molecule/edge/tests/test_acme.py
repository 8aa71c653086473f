"""A certificate from an authority that speaks ACME: obtained through nginx, put back, and renewed under traffic."""

from __future__ import annotations

import re
import socket
import ssl
import threading

import pytest
from test_edge import address, eventually, traffic

testinfra_hosts = ["ansible://edge1"]

DOMAIN = "public.test"
FILES = "/etc/signalbox/tls/public"
SERVICE = "signalbox-edge-acme.service"
RENEW = "dehydrated --cron --force"


@pytest.fixture(scope="module")
def trusting(host):
    """A client's settings: the test's authority, and no other."""
    return ssl.create_default_context(cadata=host.check_output("cat /usr/local/share/ca-certificates/acme.crt"))


def connect(host, trusting, domain=DOMAIN):
    plain = socket.create_connection((address(host), 443), timeout=20)
    return trusting.wrap_socket(plain, server_hostname=domain)


def serial(host, trusting):
    """Of the certificate that the edge serves, which must be good for the domain."""
    with connect(host, trusting) as connection:
        return connection.getpeercert()["serialNumber"]


def served(host, trusting):
    try:
        return serial(host, trusting)
    except OSError:
        return ""


def workers(host):
    return sorted(host.check_output("pgrep -u www-data -f 'nginx: worker'").split())


def test_the_role_obtains_it_for_every_domain(host, trusting):
    eventually(lambda: served(host, trusting), 60)
    for domain in (DOMAIN, f"www.{DOMAIN}"):
        connect(host, trusting, domain).close()
    key = host.file(f"{FILES}.key")
    assert (key.user, key.group, key.mode) == ("root", "www-data", 0o640)
    assert host.run(f"systemctl is-failed {SERVICE}").rc != 0


def test_what_takes_its_place_is_replaced_without_asking_the_authority(host, trusting):
    before = serial(host, trusting)
    host.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=other"
        f" -keyout {FILES}.key -out {FILES}.crt 2> /dev/null && chgrp www-data {FILES}.key && chmod 0640 {FILES}.key"
    )
    assert served(host, trusting) == ""
    host.check_output(f"systemctl start {SERVICE}")
    assert serial(host, trusting) == before
    assert host.file(f"{FILES}.key").mode == 0o640


class Handshakes(threading.Thread):
    """A new connection after the other, each of which looks at the certificate."""

    def __init__(self, host_address, trusting):
        super().__init__(daemon=True)
        self.host_address, self.trusting = host_address, trusting
        self.stop, self.serials, self.failures = threading.Event(), [], []

    def run(self):
        while not self.stop.is_set():
            try:
                plain = socket.create_connection((self.host_address, 443), timeout=10)
                with self.trusting.wrap_socket(plain, server_hostname=DOMAIN) as connection:
                    self.serials.append(connection.getpeercert()["serialNumber"])
            except OSError as error:
                self.failures.append(repr(error))


def test_a_renewal_changes_what_is_served_and_touches_no_connection(host, trusting):
    traffic(host, 100, 0, app="public")
    before, running, key = serial(host, trusting), workers(host), host.check_output(f"sha256sum {FILES}.key")
    with connect(host, trusting) as connection:
        seconds = 12
        connection.sendall(f"GET /events?seconds={seconds} HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n".encode())
        strangers = Handshakes(address(host), trusting)
        strangers.start()
        host.check_output(RENEW)
        renewed = serial(host, trusting)
        content = b""
        while not content.endswith(b"\r\n0\r\n\r\n"):
            data = connection.recv(65536)
            assert data, "the stream was cut"
            content += data
    strangers.stop.set()
    strangers.join()
    assert renewed != before
    assert len(re.findall(rb"data:", content)) == seconds * 10
    assert strangers.failures == []
    assert set(strangers.serials) == {before, renewed}
    assert workers(host) == running
    assert host.check_output(f"sha256sum {FILES}.key") == key, (
        "a new key would not fit the old certificate for a moment"
    )


def test_a_failure_is_tried_again_and_leaves_the_certificate(host, trusting):
    before = serial(host, trusting)
    host.check_output("mv /var/lib/signalbox/edge/acme /var/lib/signalbox/edge/away")
    try:
        host.check_output(f"systemctl start --no-block {SERVICE}")
        state = f"systemctl show --property=SubState --value {SERVICE}"
        eventually(lambda: host.check_output(state) == "auto-restart", 60)
    finally:
        host.check_output("mv /var/lib/signalbox/edge/away /var/lib/signalbox/edge/acme")
        host.check_output(f"systemctl stop {SERVICE} && systemctl start {SERVICE}")
    assert serial(host, trusting) == before
