"""Vault fails in every way it can while the app is under load: the app runs on, a release ends in the documented way.

Each fault is really injected on the Vault host, taken back, and a release is made afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Callable

import pytest
from conftest import live_version
from driver import Driver
from proof_report import kept, record
from secret_scan import on
from test_life import PROTOCOLS, answers, eventually, no_failure, other_than
from test_vault import sealed, vault_stopped

pytestmark = pytest.mark.proof

STREAMS = ("--streams", "10", "--websockets", "10", "--stream-seconds", "20")
ADDRESS = "https://127.0.0.1:8200/v1"
AUDIT = "/var/log/openbao/audit.log"
DISKS = ("/var/lib/openbao", "/var/log/openbao", "/var/lib/openbao-audit")
# Requests of the provisioner, whose credential is sealed to the Vault host.
LOGIN = f"""
name=signalbox-vault-provisioner
credential=$(systemd-creds decrypt --name=$name /etc/credstore.encrypted/$name -)
ask() {{ curl -sS --cacert /etc/signalbox/tls/ca.crt -X "$1" "{ADDRESS}/$2" "${{@:3}}"; }}
token() {{ ask POST auth/approle/login -d "$credential" | grep -o '"client_token":"[^"]*' | cut -d '"' -f 4; }}
"""
ASK = LOGIN + 'ask "$1" "$2" -H "X-Vault-Token: $(token)" "${@:3}"'


def shell(script: str, *arguments: str) -> str:
    return on("vault1", "bash", "-ec", script, "bash", *arguments)


@contextmanager
def stopped(_driver: Driver) -> Iterator[None]:
    with vault_stopped():
        yield


@contextmanager
def sealed_on_purpose(driver: Driver) -> Iterator[None]:
    driver.must("vault_seal")
    assert sealed()
    try:
        yield
    finally:
        driver.must("vault_unseal")
        assert not sealed()


@contextmanager
def leader_killed_for_good(_driver: Driver) -> Iterator[None]:
    """The one node leads: killed, and kept from starting as a host that is lost would be."""
    shell("systemctl mask --runtime signalbox-vault && systemctl kill --signal=KILL signalbox-vault")
    try:
        yield
    finally:
        shell("systemctl unmask --runtime signalbox-vault && systemctl start signalbox-vault")
        eventually(lambda: not sealed())


@contextmanager
def disks_full(_driver: Driver) -> Iterator[None]:
    """Storage and both audit directories lie on volumes of their own, and every block is taken."""
    shell("systemctl stop signalbox-vault")
    for disk in DISKS:
        shell('cp -a "$1" "$1.kept" && mount -t tmpfs -o size=48m none "$1" && cp -a "$1.kept/." "$1/"', disk)
        shell('chown --reference="$1.kept" "$1" && chmod --reference="$1.kept" "$1"', disk)
    shell("systemctl start signalbox-vault")
    eventually(lambda: not sealed())
    try:
        for disk in DISKS:
            shell('cat /dev/zero >"$1/filler" 2>/dev/null || test "$(df --output=avail "$1" | tail -1)" -eq 0', disk)
        yield
    finally:
        for disk in DISKS:
            shell('rm --force "$1/filler"', disk)
        # It must recover by itself once there is room.
        eventually(lambda: "data" in json.loads(shell(ASK, "GET", "sys/key-status")))
        shell("systemctl stop signalbox-vault")
        for disk in DISKS:
            shell('find "$1.kept" -mindepth 1 -delete && cp -a "$1/." "$1.kept/" && umount "$1"', disk)
            shell('find "$1" -mindepth 1 -delete && cp -a "$1.kept/." "$1/" && rm -r "$1.kept"', disk)
        shell("systemctl start signalbox-vault")
        eventually(lambda: not sealed())


@contextmanager
def certificate_expired(driver: Driver) -> Iterator[None]:
    """Signed by the platform's own authority, valid until yesterday."""
    shell(
        """
        cd /etc/signalbox/tls
        openssl x509 -in vault.crt -CA ca.crt -CAkey /var/lib/signalbox/ca/ca.key \
            -not_before 20200101000000Z -not_after 20200201000000Z -out /run/vault.crt.old
        cat /run/vault.crt.old >vault.crt
        systemctl reload signalbox-vault
        """
    )
    try:
        yield
    finally:
        driver.must("site", "--tags", "certificates")
        eventually(lambda: not sealed())


@contextmanager
def policy_missing(driver: Driver) -> Iterator[None]:
    shell(ASK, "DELETE", "sys/policies/acl/host-app1")
    try:
        yield
    finally:
        driver.must("site")


@contextmanager
def tokens_ending(_driver: Driver) -> Iterator[None]:
    """Every token of the host ends with its first request, and is refused with the second: always in mid-run."""
    role = "auth/approle/role/host-app1"
    recorded = shell(f"stat -c %s {AUDIT}").strip()
    shell(ASK, "POST", role, "-d", '{"token_num_uses": 1}')
    try:
        yield
        assert ended_in_use(recorded), "no token was accepted first and refused then"
    finally:
        shell(ASK, "POST", role, "-d", '{"token_num_uses": 0}')


def ended_in_use(recorded: str) -> list[str]:
    """Tokens in the audit log after so many bytes that were accepted first, and refused for a later request."""
    outcomes: dict[str, list[bool]] = {}
    for line in shell('tail --bytes "+$(($1 + 1))" "$2"', recorded, AUDIT).splitlines():
        entry = json.loads(line)
        token = entry["request"].get("client_token")
        # Its own end, which every session asks for, is no work.
        if entry["type"] == "response" and token and entry["request"]["path"] != "auth/token/revoke-self":
            outcomes.setdefault(token, []).append("error" not in entry)
    return [token for token, went in outcomes.items() if went[0] and not went[-1]]


Fault = Callable[[Driver], AbstractContextManager[None]]
DOCUMENTED: dict[Fault, str] = {
    stopped: "does not answer",
    sealed_on_purpose: "is sealed",
    leader_killed_for_good: "does not answer",
    disks_full: "no audit device can be written",
    certificate_expired: "its certificate ended",
    policy_missing: "permission denied",
    tokens_ending: "ended or was revoked during the run",
}


@pytest.mark.parametrize("fault", DOCUMENTED, ids=lambda fault: fault.__name__)
def test_the_app_runs_on_and_a_release_ends_as_documented(driver: Driver, fault: Fault) -> None:
    version = live_version(driver)
    following = other_than(version)
    with driver.load(*PROTOCOLS, *STREAMS, "--connections", "64", "--rate", "100") as load:
        time.sleep(2)
        with fault(driver):
            refused = driver.run("deploy", version=following, bake_seconds=1)
            said = " ".join(refused.last_screen.split())
            print(f"{fault.__name__}: a release ended with {refused.code} after {refused.seconds:.1f} s")
            assert refused.code != 0
            assert DOCUMENTED[fault] in said, refused.last_screen
            assert "Remedy" in said, refused.last_screen
            assert answers(driver)
        report = load.stop()
    no_failure(report)
    driver.must("deploy", version=following, bake_seconds=1)
    assert live_version(driver) == following
    record(
        f"Vault under load: {fault.__name__.replace('_', ' ')}",
        {
            "a release in the fault": f"refused with: {DOCUMENTED[fault]} ({refused.seconds:.1f} s)",
            **kept(report),
            "a release afterwards": "succeeded",
        },
    )
