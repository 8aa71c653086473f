"""Certificates: the rules, and the authority with a host's store in a directory, judged by openssl."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate as rules
from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils._certificate_authority import Authority, _builder

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)


def test_parse_request_normalises() -> None:
    request = rules.parse_request(
        {"name": "db", "dns": ["DB.Example.com.", "db.example.com"], "addresses": ["2001:DB8::0:1", "10.0.0.1"]}
    )
    assert request.names == {"DNS:db.example.com", "IP:2001:db8::1", "IP:10.0.0.1"}
    assert (request.owner, request.group, request.key_mode, request.given) == ("root", "root", 0o600, False)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"dns": ["a"]}, "name may hold"),
        ({"name": "../x", "dns": ["a"]}, "name may hold"),
        ({"name": "ca", "dns": ["a"]}, "must not be 'ca'"),
        ({"name": "x"}, "at least one name"),
        ({"name": "x", "dns": ["a b"]}, "not a DNS name"),
        ({"name": "x", "dns": ["*"]}, "not a DNS name"),
        ({"name": "x", "dns": ["*.com"]}, "not a DNS name"),
        ({"name": "x", "dns": ["a.*.example.com"]}, "not a DNS name"),
        ({"name": "x", "dns": ["a" * 64]}, "not a DNS name"),
        ({"name": "x", "addresses": ["10.0.0.256"]}, "not an IP address"),
        ({"name": "x", "dns": ["a"], "key_mode": "0644"}, "others than owner"),
        ({"name": "x", "dns": ["a"], "key_mode": "0660"}, "others than owner"),
        ({"name": "x", "dns": ["a"], "key_mode": 384}, "quoted octal"),
        ({"name": "x", "certificate": "c"}, "belong together"),
    ],
)
def test_request_mistakes(item: dict, message: str) -> None:
    with pytest.raises(rules.CertificateError, match=message):
        rules.parse_request(item)


def test_a_mistake_does_not_show_the_key() -> None:
    request = rules.parse_request({"name": "x", "certificate": "c", "private_key": "hidden"})
    assert "hidden" not in repr(request)


def test_requested_twice() -> None:
    with pytest.raises(rules.CertificateError, match="requested twice: x"):
        rules.parse_requests([{"name": "x", "dns": ["a"]}, {"name": "x", "dns": ["b"]}])


REQUEST = rules.Request("x", dns=("a.example.com",))
HELD = rules.Held(NOW - timedelta(days=10), NOW + timedelta(days=80), REQUEST.names, True, True)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (HELD, None),
        (None, "there is none"),
        (replace(HELD, key_matches=False), "it does not belong to the key"),
        (replace(HELD, authority_matches=False), "the authority changed"),
        (replace(HELD, names=HELD.names | {"DNS:b"}), "the names changed"),
        (replace(HELD, names=frozenset()), "the names changed"),
        (replace(HELD, not_before=NOW - timedelta(days=60), not_after=NOW + timedelta(days=30, hours=1)), None),
        (
            replace(HELD, not_before=NOW - timedelta(days=61), not_after=NOW + timedelta(days=29)),
            "29 of 90 days are left",
        ),
        (replace(HELD, not_after=NOW - timedelta(days=1)), "0 of 9 days are left"),
    ],
)
def test_reason_to_renew(held: rules.Held, reason: str) -> None:
    assert rules.reason_to_renew(REQUEST, held, NOW) == reason


def test_a_placeholder_gives_way_to_whatever_is_there() -> None:
    first = replace(REQUEST, placeholder=True)
    foreign = replace(HELD, authority_matches=False, names=frozenset({"DNS:b"}), not_after=NOW - timedelta(days=1))
    assert rules.reason_to_renew(first, foreign, NOW) is None
    assert rules.reason_to_renew(first, None, NOW) == "there is none"
    assert rules.reason_to_renew(first, replace(foreign, key_matches=False), NOW) == "it does not belong to the key"


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("DNS:a.b", "DNS:a.b", True),
        ("DNS:*.b.c", "DNS:a.b.c", True),
        ("DNS:*.b.c", "DNS:x.a.b.c", False),
        ("DNS:*.b.c", "DNS:b.c", False),
        ("DNS:*.b.c", "IP:a.b.c", False),
    ],
)
def test_covers(pattern: str, name: str, expected: bool) -> None:
    assert rules.covers(pattern, name) is expected


@pytest.fixture
def store(tmp_path: Path) -> files.Store:
    found = files.Store(str(tmp_path / "tls"), check=False)
    found.prepare()
    return found


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(str(tmp_path / "ca"), "Test CA", 3650)


@pytest.fixture(autouse=True)
def any_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        monkeypatch.setattr(files, "owner_ids", lambda owner, group: (os.geteuid(), os.getegid()))


def issue(store: files.Store, authority: Authority, request: rules.Request, days: int = 90) -> bool:
    now = files.utc_now()
    with authority.opened(now):
        chain = authority.sign(request, store.signing_request(request), "host1", days, now)
    store.install_authority(authority.pem)
    return store.install(request, chain)


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


WHOLE = rules.Request("db", dns=("db.example.com", "*.example.com"), addresses=("10.0.0.1", "2001:db8::1"))


def test_what_is_issued_holds_before_openssl(store: files.Store, authority: Authority) -> None:
    assert issue(store, authority, WHOLE)
    path, key = store.paths(WHOLE)
    for purpose in ("sslserver", "sslclient"):
        assert "OK" in openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", store.authority_path, path)
    assert "OK" in openssl("verify", "-verify_ip", "2001:db8::1", "-CAfile", store.authority_path, path)
    text = openssl("x509", "-in", path, "-noout", "-text")
    assert "DNS:db.example.com, DNS:*.example.com, IP Address:10.0.0.1" in text
    assert "CA:FALSE" in text
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in text
    assert "prime256v1" in openssl("pkey", "-in", key, "-noout", "-text")
    assert oct(os.stat(key).st_mode)[-3:] == "600"
    assert oct(os.stat(path).st_mode)[-3:] == "644"
    held = store.held(WHOLE)
    assert rules.reason_to_renew(WHOLE, held, files.utc_now()) is None
    assert (held.not_after - files.utc_now()).days in (89, 90)


def test_the_authority_is_made_once_and_kept_private(store: files.Store, authority: Authority, tmp_path: Path) -> None:
    issue(store, authority, WHOLE)
    first = authority.pem
    again = Authority(authority.directory, "Other name", 10)
    issue(store, again, WHOLE)
    assert again.pem == first
    assert again.created is False
    assert oct(os.stat(tmp_path / "ca").st_mode)[-3:] == "700"
    assert oct(os.stat(tmp_path / "ca/ca.key").st_mode)[-3:] == "600"
    records = (tmp_path / "ca/issued.jsonl").read_text().splitlines()
    assert len(records) == 2
    assert records[0] != records[1]
    text = openssl("x509", "-in", str(tmp_path / "ca/ca.crt"), "-noout", "-text")
    assert "CA:TRUE, pathlen:1" in text


def test_a_certificate_does_not_outlive_the_authority(store: files.Store, tmp_path: Path) -> None:
    short = Authority(str(tmp_path / "short"), "Short", 20)
    issue(store, short, WHOLE)
    assert (store.held(WHOLE).not_after - files.utc_now()).days <= 20


def test_another_authority_is_a_reason(store: files.Store, authority: Authority, tmp_path: Path) -> None:
    issue(store, authority, WHOLE)
    other = Authority(str(tmp_path / "other"), "Test CA", 3650)  # the same name, another key
    with other.opened(files.utc_now()):
        store.install_authority(other.pem)
    assert rules.reason_to_renew(WHOLE, store.held(WHOLE), files.utc_now()) == "the authority changed"


def test_the_authority_refuses_names_that_were_not_requested(store: files.Store, authority: Authority) -> None:
    greedy = store.signing_request(replace(WHOLE, dns=(*WHOLE.dns, "bank.example.com")))
    now = files.utc_now()
    with authority.opened(now), pytest.raises(rules.CertificateError, match=r"too many: DNS:bank\.example\.com"):
        authority.sign(WHOLE, greedy, "host1", 90, now)
    with authority.opened(now), pytest.raises(rules.CertificateError, match="no signing request"):
        authority.sign(WHOLE, "rubbish", "host1", 90, now)
    assert not os.path.exists(os.path.join(authority.directory, "issued.jsonl"))


def test_a_certificate_for_another_key_is_not_installed(
    store: files.Store, authority: Authority, tmp_path: Path
) -> None:
    issue(store, authority, WHOLE)
    other = files.Store(str(tmp_path / "elsewhere"), check=False)
    other.prepare()
    other.signing_request(WHOLE)
    chain = Path(store.paths(WHOLE)[0]).read_text()
    with pytest.raises(rules.CertificateError, match="does not belong to the host's key"):
        other.install(WHOLE, chain)
    assert not os.path.exists(other.paths(WHOLE)[0])


def test_renewal_keeps_the_key(store: files.Store, authority: Authority) -> None:
    issue(store, authority, WHOLE)
    key, old = (Path(path).read_bytes() for path in reversed(store.paths(WHOLE)))
    assert issue(store, authority, WHOLE)
    assert Path(store.paths(WHOLE)[1]).read_bytes() == key
    assert Path(store.paths(WHOLE)[0]).read_bytes() != old


def test_settle_mends_the_mode(store: files.Store, authority: Authority) -> None:
    issue(store, authority, WHOLE)
    key = store.paths(WHOLE)[1]
    assert store.settle(WHOLE) is False
    os.chmod(key, 0o644)
    store.check = True
    assert store.settle(WHOLE) is True
    assert oct(os.stat(key).st_mode)[-3:] == "644"
    store.check = False
    assert store.settle(WHOLE) is True
    assert oct(os.stat(key).st_mode)[-3:] == "600"


def given_pair(store: files.Store, authority: Authority) -> rules.Request:
    issue(store, authority, WHOLE)
    certificate, key = (Path(path).read_text() for path in store.paths(WHOLE))
    return rules.Request("own", dns=("a.example.com",), certificate=certificate, private_key=key)


def test_a_given_pair(store: files.Store, authority: Authority) -> None:
    own = given_pair(store, authority)
    store.check = True
    assert store.install_given(own, files.utc_now()) is True
    assert not os.path.exists(store.paths(own)[0])
    store.check = False
    assert store.install_given(own, files.utc_now()) is True
    assert store.install_given(own, files.utc_now()) is False
    assert Path(store.paths(own)[1]).read_text() == own.private_key
    assert oct(os.stat(store.paths(own)[1]).st_mode)[-3:] == "600"


def test_given_pairs_that_are_refused(store: files.Store, authority: Authority) -> None:
    own, now = given_pair(store, authority), files.utc_now()
    foreign = files.key_bytes(files.new_key()).decode()
    cases = [
        (replace(own, private_key=foreign), now, "do not belong together"),
        (replace(own, private_key="rubbish"), now, "no private key in PEM"),
        (replace(own, certificate="rubbish"), now, "no certificate in PEM"),
        (replace(own, dns=("other.example.org",)), now, r"does not name DNS:other\.example\.org"),
        (own, now + timedelta(days=91), "ended on"),
    ]
    for request, moment, message in cases:
        with pytest.raises(rules.CertificateError, match=message) as caught:
            store.install_given(request, moment)
        assert own.private_key not in str(caught.value)
    assert not os.path.exists(store.paths(own)[0])


def test_a_pair_is_removed_and_its_neighbours_stay(store: files.Store) -> None:
    for name in ("gone", "kept"):
        store.signing_request(rules.parse_request({"name": name, "dns": [f"{name}.test"]}))
    gone = rules.parse_request({"name": "gone", "dns": ["gone.test"]})
    (Path(store.directory) / "gone.crt").write_text("x")
    assert files.Store(store.directory, check=True).remove(gone)
    assert store.remove(gone)
    assert not store.remove(gone)
    assert sorted(os.listdir(store.directory)) == ["kept.key"]


def test_an_intermediate_signs_for_hosts_and_not_for_authorities(
    store: files.Store, authority: Authority, tmp_path: Path
) -> None:
    """As Vault is one: its chain holds for openssl, and a host's store takes it for the authority's."""
    now = files.utc_now()
    issue(store, authority, WHOLE)
    between = Authority(str(tmp_path / "between"), "Between", 1000)
    with between.opened(now):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Between")])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(between.key, hashes.SHA256())
    pem = csr.public_bytes(files.PEM).decode()
    with authority.opened(now):
        chain = authority.sign_intermediate("between", pem, "vault1", 1095, now)
    between.certificate = x509.load_pem_x509_certificates(chain.encode())[0]
    leaf = between.sign(WHOLE, store.signing_request(WHOLE), "host", 90, now) + authority.pem
    assert store.install(WHOLE, leaf)
    path = store.paths(WHOLE)[0]
    command = ("verify", "-x509_strict", "-CAfile", store.authority_path, "-untrusted", path, path)
    assert openssl(*command).strip().endswith("OK")
    assert rules.reason_to_renew(WHOLE, store.held(WHOLE), now) is None
    (tmp_path / "alone.crt").write_text(leaf[: leaf.index("-----END") + 26])
    alone = files.load_certificates((tmp_path / "alone.crt").read_bytes(), "alone")
    assert files.chained(alone, store.authority()) is False


def test_an_older_authority_is_made_fit_for_an_intermediate(
    store: files.Store, authority: Authority, tmp_path: Path
) -> None:
    now = files.utc_now()
    issue(store, authority, WHOLE)
    narrow = x509.load_pem_x509_certificate(authority.pem.encode())
    builder = _builder(narrow.subject, narrow.subject, authority.key.public_key(), now, narrow.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    (tmp_path / "ca/ca.crt").write_bytes(builder.sign(authority.key, hashes.SHA256()).public_bytes(files.PEM))
    again = Authority(authority.directory, "Other name", 3650)
    with again.opened(now):
        assert again.created
    assert again.certificate.subject == narrow.subject
    assert again._may_have_an_intermediate()
    store.install_authority(again.pem)
    assert rules.reason_to_renew(WHOLE, store.held(WHOLE), now) is None  # what it signed before stays valid
    with Authority(authority.directory, "Test CA", 3650).opened(now):
        assert (tmp_path / "ca/ca.crt").read_text() == again.pem
