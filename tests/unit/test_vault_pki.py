"""Vault as an authority on a real server: its certificate from the platform's own, and what it signs for a host."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_certificate import openssl
from test_vault_layout import ADDRESSES, CLIENTS, GROUPS, Identity, bring_about, identity
from vault_provisioner import provisioner
from vault_server import running

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate as rules
from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_enrol as enrol
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_pki as pki
from ansible_collections.signalbox.platform.plugins.module_utils._certificate_authority import Authority
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_layout import layout

DAY = 86400
OWN = rules.parse_request({"name": "postgresql", "dns": ["data1"], "addresses": [ADDRESSES["data1"]]})


def take(vault, authority: Authority) -> None:
    """The three steps of a playbook."""
    pem = pki.signing_request(vault, "Signalbox Vault")
    with authority.opened(files.utc_now()):
        chain = authority.sign_intermediate(pki.NAME, pem, "vault1", 1095, files.utc_now())
    assert pki.set_certificate(vault, chain)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(str(tmp_path_factory.mktemp("ca") / "ca"), "Test CA", 3650)


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    with running(tmp_path_factory.mktemp("vault")) as server, provisioner(server) as vault:
        bring_about(vault, layout(CLIENTS, GROUPS, ADDRESSES, "registry.test"))
        with authority.opened(files.utc_now()):
            assert pki.reason_for_another(vault, authority.certificate, files.utc_now(), 1 / 3) == "there is none"
        pki.signing_request(vault, "came to nothing")
        take(vault, authority)
        yield server


@pytest.fixture
def vault(server):
    with provisioner(server) as vault:
        yield vault


@pytest.fixture
def store(tmp_path) -> files.Store:
    store = files.Store(str(tmp_path / "tls"), False)
    store.prepare()
    return store


def test_it_is_asked_for_once(server, vault, authority):
    now = files.utc_now()
    assert pki.reason_for_another(vault, authority.certificate, now, 1 / 3) is None
    assert "days are left" in pki.reason_for_another(vault, authority.certificate, now, 1.1)
    assert len(server.client().list("pki/keys")["data"]["keys"]) == 1, (
        "the key of a request that came to nothing is gone"
    )


def test_a_host_s_certificate_is_taken_for_the_platform_s(vault, authority, store):
    pems = {OWN.name: store.signing_request(OWN)}
    store.install_authority(authority.pem)
    assert store.install(OWN, pki.sign(vault, "data1", [OWN], pems, authority.certificate, 90 * DAY)[OWN.name])
    held = store.held(OWN)
    assert rules.reason_to_renew(OWN, held, files.utc_now()) is None
    assert round((held.not_after - held.not_before).total_seconds() / DAY) == 90
    path = store.paths(OWN)[0]
    for purpose in ("sslserver", "sslclient"):
        check = (
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-CAfile",
            store.authority_path,
            "-untrusted",
            path,
            path,
        )
        assert "OK" in openssl(*check)


@pytest.mark.parametrize(
    ("host", "dns", "addresses", "message"),
    [
        ("app1", ["data1"], [], "data1 not allowed"),
        ("data1", ["data1", "app1"], [], "app1 not allowed"),
        ("data1", ["x.data1"], [], "x.data1 not allowed"),
        ("data1", ["*.data1.lan"], [], "not allowed"),
        ("data1", ["localhost"], [], "localhost not allowed"),
        ("data1", ["data1"], [ADDRESSES["app1"]], "is not allowed in this role"),
        ("data1", [], [ADDRESSES["app1"]], "not allowed"),
    ],
)
def test_vault_signs_no_name_of_another(vault, authority, store, host, dns, addresses, message):
    request = rules.parse_request({"name": "own", "dns": dns, "addresses": addresses})
    with pytest.raises(VaultError, match=message):
        pki.sign(vault, host, [request], {"own": store.signing_request(request)}, authority.certificate, DAY)


def test_a_request_for_an_address_alone_is_signed(vault, authority, store):
    request = rules.parse_request({"name": "own", "addresses": [ADDRESSES["data1"]]})
    assert pki.sign(vault, "data1", [request], {"own": store.signing_request(request)}, authority.certificate, DAY)


def test_the_module_signs_only_what_was_requested(vault, authority, store):
    wider = rules.parse_request({"name": "own", "dns": ["data1"], "addresses": [ADDRESSES["data1"]]})
    asked = rules.parse_request({"name": "own", "dns": ["data1"]})
    with pytest.raises(rules.CertificateError, match="too many"):
        pki.sign(vault, "data1", [asked], {"own": store.signing_request(wider)}, authority.certificate, DAY)


def test_a_host_cannot_have_a_certificate_outlive_its_time(server, vault, store):
    who = identity(server, vault, "data1")
    body = {"csr": store.signing_request(OWN)}
    longer = who.ask("POST", "pki/sign/host-data1", {**body, "ttl": "8760h"})
    assert longer.status_code == 400 or _days(longer) <= 90
    # A date that Vault's own certificate outlives: left open, the role's longest life would not count.
    date = (files.utc_now() + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert who.ask("POST", "pki/sign/host-data1", {**body, "not_after": date}).status_code == 400


def _days(answer) -> float:
    certificate = files.load_certificates(answer.json()["data"]["certificate"].encode(), "answer")[0]
    return (certificate.not_valid_after_utc - files.utc_now()).total_seconds() / DAY


def test_another_authority_is_followed_and_what_was_signed_stays_valid(server, vault, authority, store, tmp_path):
    pems = {OWN.name: store.signing_request(OWN)}
    store.install_authority(authority.pem)
    store.install(OWN, pki.sign(vault, "data1", [OWN], pems, authority.certificate, DAY)[OWN.name])
    other = Authority(str(tmp_path / "other"), "Other CA", 3650)
    with other.opened(files.utc_now()):
        reason = pki.reason_for_another(vault, other.certificate, files.utc_now(), 1 / 3)
    assert reason == "the authority changed"
    take(vault, other)
    assert pki.reason_for_another(vault, other.certificate, files.utc_now(), 1 / 3) is None
    assert rules.reason_to_renew(OWN, store.held(OWN), files.utc_now()) is None
    take(vault, authority)


def test_a_certificate_for_a_foreign_key_is_refused(vault, authority, store, tmp_path):
    foreign = Authority(str(tmp_path / "foreign"), "Foreign", 100)
    with foreign.opened(files.utc_now()), authority.opened(files.utc_now()):
        csr = store.signing_request(OWN)
        chain = authority.sign_intermediate("foreign", csr, "vault1", 1095, files.utc_now())
    with pytest.raises(VaultError, match="is not for a key that Vault made"):
        pki.set_certificate(vault, chain)
    assert pki.reason_for_another(vault, authority.certificate, files.utc_now(), 1 / 3) is None


# Enrolment, on the same server.


def test_an_identity_replaces_the_former_one(server, vault):
    before = identity(server, vault, "app1")
    issued = enrol.issue(vault, "app1", check=False)
    who = Identity(server, ADDRESSES["app1"], issued["wrapping_token"])
    secret_id = who.ask("POST", "sys/wrapping/unwrap").json()["data"]["secret_id"]
    assert who.login(issued["role_id"], secret_id).ok
    assert len(enrol.retire(vault, "app1", issued["accessor"], check=True)) == 1
    assert len(enrol.retire(vault, "app1", issued["accessor"], check=False)) == 1
    assert enrol.retire(vault, "app1", issued["accessor"], check=False) == []
    assert who.login(issued["role_id"], secret_id).ok
    assert before.ask("GET", "auth/token/lookup-self").ok, "its token lives on for its own time"
    enrol.retire(vault, "app1", "", check=False)
    assert not who.login(issued["role_id"], secret_id).ok


def test_nothing_is_destroyed_when_the_one_to_keep_is_unknown(vault):
    enrol.issue(vault, "app2", check=False)
    with pytest.raises(VaultError, match="none was destroyed"):
        enrol.retire(vault, "app2", "unknown", check=False)
    assert len(vault.list("auth/approle/role/host-app2/secret-id")) == 1


def test_a_host_that_is_not_laid_out_is_named(vault):
    with pytest.raises(VaultError, match="no AppRole host-absent"):
        enrol.issue(vault, "absent", check=False)
