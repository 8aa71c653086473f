"""Certificates on both hosts, judged by openssl."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

TLS = "/etc/signalbox/tls"


@pytest.mark.parametrize("name", ["service", "second"])
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_the_chain_holds(host, name: str, purpose: str) -> None:
    command = f"openssl verify -x509_strict -purpose {purpose} -CAfile {TLS}/ca.crt {TLS}/{name}.crt"
    assert host.check_output(command).endswith("OK")


def test_names(host) -> None:
    own = host.check_output("hostname")
    text = host.check_output(f"openssl x509 -in {TLS}/service.crt -noout -ext subjectAltName,basicConstraints")
    for name in (f"DNS:{own}.example.com", f"DNS:*.{own}.example.com", "IP Address:10.0.0.1", "2001:DB8:0:0:0:0:0:1"):
        assert name in text
    assert "CA:FALSE" in text


def test_the_key_belongs_to_the_certificate_and_is_private(host) -> None:
    of_key = host.check_output(f"openssl pkey -in {TLS}/service.key -pubout")
    assert of_key == host.check_output(f"openssl x509 -in {TLS}/service.crt -noout -pubkey")
    key = host.file(f"{TLS}/service.key")
    assert (key.user, key.group, key.mode) == ("root", "reader", 0o640)
    assert host.file(f"{TLS}/second.key").mode == 0o600
    assert host.file(f"{TLS}/ca.crt").mode == 0o644
    left = host.check_output(f"find {TLS} -name '.*' -type f")
    assert left == ""


def test_what_was_given_is_served_in_its_newest_form(host) -> None:
    given = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    assert host.file(f"{TLS}/given.crt").content_string == (given / "given.crt").read_text()
    assert (given / "given.key").read_text().startswith("$ANSIBLE_VAULT;")
    of_key = host.check_output(f"openssl pkey -in {TLS}/given.key -pubout")
    assert of_key == host.check_output(f"openssl x509 -in {TLS}/given.crt -noout -pubkey")
    key = host.file(f"{TLS}/given.key")
    assert (key.user, key.group, key.mode) == ("root", "reader", 0o640)


def test_what_a_service_obtained_outlives_a_new_authority(host) -> None:
    assert host.check_output(f"openssl x509 -in {TLS}/obtained.crt -noout -issuer") == "issuer=CN=elsewhere"


def test_the_authority_lives_on_one_host(host) -> None:
    here = host.check_output("hostname") == "certificates-authority"
    assert host.file("/var/lib/signalbox/ca/ca.key").exists is here
    if here:
        assert host.file("/var/lib/signalbox/ca").mode == 0o700
        assert host.file("/var/lib/signalbox/ca/ca.key").mode == 0o600
        issued = [
            json.loads(line) for line in host.file("/var/lib/signalbox/ca/issued.jsonl").content_string.splitlines()
        ]
        assert {entry["host"] for entry in issued} == {"certificates-authority", "certificates-client"}
        assert len({entry["serial"] for entry in issued}) == len(issued) == 4
