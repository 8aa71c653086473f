"""The host's program for Vault: its words for each fault by a fake client, its work against a real server."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import hvac
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.signalbox.platform.plugins.module_utils import _host_vault as callers
from ansible_collections.signalbox.platform.plugins.module_utils import _slot_environment as environment
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import to_shell

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = CHECKOUT / "roles/vault_client/files/usr/local/libexec/signalbox/host-vault"
sys.path.insert(0, str(CHECKOUT / "tests"))


def load():
    loader = importlib.machinery.SourceFileLoader("host_vault", str(PROGRAM))
    spec = importlib.util.spec_from_loader("host_vault", loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["host_vault"] = module
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


host_vault = load()
CONFIGURATION = {"addresses": ["https://vault.test:8200"], "ca_file": "/etc/signalbox/tls/ca.crt"}
SECRET = "correct horse battery"


class Client:
    """The library's client: answers by path, each an answer, an error, or a list of them in turn."""

    def __init__(self, answers):
        self.answers, self.calls, self.token = answers, [], None
        self.adapter = self

    def request(self, method, url, json=None):
        self.calls.append((method, url.removeprefix("/v1/"), self.token))
        answer = self.answers.get(url.removeprefix("/v1/"), {})
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


LOGIN = {"auth": {"client_token": "token", "lease_duration": 60}}
IDENTITY = {"role_id": "r", "secret_id": "s", "secret_id_accessor": "a", "issued_at": 0, "life_seconds": 0}


def vault(**answers):
    client = Client({"auth/approle/login": LOGIN, **{key.replace("__", "/"): value for key, value in answers.items()}})
    made = host_vault.Vault(CONFIGURATION, lambda *_where: client, lambda _seconds: None)
    return made, client


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (hvac.exceptions.VaultDown("OpenBao is sealed"), host_vault.SEALED, "is sealed"),
        (hvac.exceptions.VaultDown("no leader"), host_vault.BROKEN, "no leader"),
        (requests.exceptions.ConnectionError("refused"), host_vault.UNREACHABLE, "does not answer"),
        (requests.exceptions.ReadTimeout("slow"), host_vault.UNREACHABLE, "does not answer"),
        (
            requests.exceptions.SSLError("certificate verify failed: certificate has expired"),
            host_vault.UNTRUSTED,
            "certificate has expired",
        ),
        (requests.exceptions.SSLError("self-signed certificate"), host_vault.UNTRUSTED, "not trusted"),
        (hvac.exceptions.Forbidden("permission denied"), host_vault.DENIED, "permission denied"),
        (hvac.exceptions.InternalServerError("internal error"), host_vault.BROKEN, "audit devices"),
    ],
)
def test_each_fault_has_its_code_its_words_and_a_remedy(error, code, words):
    made, _client = vault(**{"sys/x": error})
    with pytest.raises(host_vault.Failure, match=words) as caught:
        made.call("look", "get", "sys/x")
    assert caught.value.code == code
    assert "Remedy: " in str(caught.value)


def test_a_stumbling_server_is_asked_again_and_a_clear_no_is_not():
    made, client = vault(**{"sys/x": [hvac.exceptions.InternalServerError("x"), {"data": 1}]})
    assert made.call("look", "get", "sys/x") == {"data": 1}
    assert len(client.calls) == 2
    made, client = vault(**{"sys/x": [requests.exceptions.ConnectionError("x")] * 9})
    with pytest.raises(host_vault.Failure):
        made.call("look", "get", "sys/x")
    assert len(client.calls) == host_vault.ATTEMPTS
    electing = hvac.exceptions.InternalServerError("local node not active but active cluster node not found")
    made, client = vault(**{"sys/x": [*[electing] * 4, {"data": 1}]})
    assert made.call("look", "get", "sys/x") == {"data": 1}, "an election takes longer than a stumble"
    made, client = vault(**{"sys/x": [electing] * 9})
    with pytest.raises(host_vault.Failure, match="no leader") as caught:
        made.call("look", "get", "sys/x")
    assert caught.value.code == host_vault.LEADERLESS
    assert len(client.calls) == host_vault.LEADERLESS_ATTEMPTS
    made, client = vault(**{"sys/x": [hvac.exceptions.VaultDown("Vault is sealed")] * 9})
    with pytest.raises(host_vault.Failure):
        made.call("look", "get", "sys/x")
    assert len(client.calls) == 1


ELECTING = hvac.exceptions.InternalServerError("local node not active but active cluster node not found")
GONE = requests.exceptions.ConnectionError("refused")


def cluster(*nodes):
    """Nodes 1 and up, each with what it answers to sys/x."""
    clients = {f"https://{number}.test:8200": Client({"sys/x": answers}) for number, answers in enumerate(nodes, 1)}
    configuration = {**CONFIGURATION, "addresses": list(clients)}
    pauses = []
    made = host_vault.Vault(configuration, lambda _configuration, address: clients[address], pauses.append)
    return made, [client.calls for client in clients.values()], pauses


@pytest.mark.parametrize(
    "fault",
    [
        GONE,
        requests.exceptions.ConnectTimeout("slow"),
        requests.exceptions.SSLError("certificate verify failed: certificate has expired"),
        hvac.exceptions.VaultDown("Vault is sealed"),
        hvac.exceptions.InternalServerError("internal error"),
        ELECTING,
        types.SimpleNamespace(status_code=307),
    ],
)
def test_of_several_nodes_the_next_one_is_asked_at_once_and_then_first(fault):
    made, calls, pauses = cluster(fault, {"data": 1}, {"data": 2})
    assert [made.call("look", "get", "sys/x") for _ in range(2)] == [{"data": 1}] * 2
    assert [len(each) for each in calls] == [1, 2, 0]
    assert pauses == []


def test_a_cluster_that_elects_is_waited_for_though_a_node_is_gone():
    made, calls, pauses = cluster([GONE] * 9, [ELECTING, ELECTING, ELECTING, {"data": 1}], [ELECTING] * 9)
    assert made.call("look", "get", "sys/x") == {"data": 1}
    assert len(pauses) == 3
    made, calls, pauses = cluster([GONE] * 9, [ELECTING] * 9, [GONE] * 9)
    with pytest.raises(host_vault.Failure, match=r"1\.test.*does not answer.*2\.test.*no leader.*3\.test") as caught:
        made.call("look", "get", "sys/x")
    assert caught.value.code == host_vault.LEADERLESS
    assert [len(each) for each in calls] == [host_vault.LEADERLESS_ATTEMPTS] * 3


def test_a_clear_no_is_not_asked_of_another_node_and_neither_is_what_may_be_asked_once():
    made, calls, _pauses = cluster(hvac.exceptions.Forbidden("permission denied"), {"data": 1})
    with pytest.raises(host_vault.Failure, match="permission denied"):
        made.call("look", "get", "sys/x")
    made.call("look", "get", "sys/y")
    made, more, _pauses = cluster(GONE, {"data": 1})
    with pytest.raises(host_vault.Failure, match="does not answer"):
        made.call("unwrap", "post", "sys/x", attempts=1)
    assert [len(each) for each in (*calls, *more)] == [2, 0, 1, 0]


def test_an_error_of_the_program_itself_is_not_hidden():
    class Strange(Exception):
        pass

    made, _client = vault(**{"sys/x": Strange("x")})
    with pytest.raises(Strange):
        made.call("look", "get", "sys/x")


def test_the_token_is_revoked_even_after_an_error():
    made, client = vault()
    with pytest.raises(RuntimeError), made.session(IDENTITY):
        raise RuntimeError
    assert client.calls[-1] == ("post", "auth/token/revoke-self", "token")
    assert made.token == ""


SOURCES = {
    "API_KEY": {"kind": "kv", "path": "apps/api/secrets", "key": "API_KEY"},
    "TOKEN": {"kind": "kv", "path": "apps/api/secrets", "key": "TOKEN"},
    "database_blue": {"kind": "database", "role": "api_blue"},
    "cache_blue": {"kind": "kv", "path": "apps/api/cache/blue", "key": "password"},
}


def test_a_path_is_read_once_and_both_kinds_are_understood():
    made, client = vault(
        **{
            "signalbox/data/apps/api/secrets": {"data": {"data": {"API_KEY": "k", "TOKEN": "t"}}},
            "signalbox/data/apps/api/cache/blue": {"data": {"data": {"password": "c"}}},
            "database/static-creds/api_blue": {"data": {"username": "api_blue", "password": "p"}},
        }
    )
    assert host_vault.read_sources(made, SOURCES) == {
        "API_KEY": "k",
        "TOKEN": "t",
        "database_blue": "p",
        "cache_blue": "c",
    }
    assert len(client.calls) == 3


def test_all_that_is_missing_or_denied_is_named_at_once():
    answers = {
        "signalbox/data/apps/api/secrets": {"data": {"data": {"API_KEY": SECRET}}},
        "signalbox/data/apps/api/cache/blue": hvac.exceptions.InvalidPath("x"),
        "database/static-creds/api_blue": hvac.exceptions.InvalidRequest("unknown role: api_blue"),
    }
    with pytest.raises(host_vault.Failure) as caught:
        host_vault.read_sources(vault(**answers)[0], SOURCES)
    assert caught.value.code == host_vault.MISSING
    assert "playbooks/site.yml makes what can be generated" in str(caught.value), (
        "secrets.yml does nothing with a Vault"
    )
    assert all(name in str(caught.value) for name in ("TOKEN", "database_blue", "cache_blue"))
    assert "API_KEY" not in str(caught.value)
    assert SECRET not in str(caught.value)
    answers["database/static-creds/api_blue"] = hvac.exceptions.Forbidden("x")
    with pytest.raises(host_vault.Failure) as caught:
        host_vault.read_sources(vault(**answers)[0], SOURCES)
    assert caught.value.code == host_vault.DENIED
    assert all(name in str(caught.value) for name in ("TOKEN", "database_blue", "cache_blue"))


def test_an_unwrap_is_never_tried_twice():
    """When its answer is lost the secret id is, and a second attempt would look like a theft."""
    made, client = vault(
        **{
            "sys/wrapping/lookup": {"data": {"creation_path": "auth/approle/role/host-a/secret-id"}},
            "sys/wrapping/unwrap": requests.exceptions.ReadTimeout("slow"),
        }
    )
    wrapped = {"role_id": "r", "wrapping_token": "w", "creation_path": "auth/approle/role/host-a/secret-id"}
    with pytest.raises(host_vault.Failure):
        host_vault.enrol(made, host_vault.Host(CONFIGURATION), wrapped, 0)
    assert [call[1] for call in client.calls].count("sys/wrapping/unwrap") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:00:00.123456789Z", 1795428000),
        ("2026-11-23T12:00:00+02:00", 1795428000),
        ("nonsense", 1795430000),
        ("2030-01-01T00:00:00Z", 1795430000),
    ],
)
def test_the_age_counts_from_vaults_own_time(text, expected):
    assert host_vault.issued_at(text, 1795430000) == expected


@pytest.mark.parametrize(("age", "due"), [(0, False), (59, False), (61, True), (200, True)])
def test_less_than_a_third_of_a_life_is_due(age, due):
    found = host_vault.age_of({"issued_at": 1000, "life_seconds": 90}, 1000 + age)
    assert found["renewal_due"] is due
    assert host_vault.age_of({"issued_at": 0, "life_seconds": 0}, 10**9)["renewal_due"] is False


NAMES = st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,8}\Z")
VALUES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.dictionaries(NAMES, VALUES, min_size=1, max_size=4))
def test_the_program_fills_in_and_writes_as_the_modules_do(plain, values):
    template = {**plain, **{f"V_{name}": f"x${{signalbox:url:{name}}}y${{signalbox:{name}}}" for name in values}}
    if any(environment.MARKER in value for value in plain.values()):
        return
    filled = environment.fill(template, values)
    assert host_vault.fill(template, values) == filled
    assert host_vault.to_shell(filled) == to_shell(filled)
    assert host_vault.from_shell(to_shell(filled)) == filled


def test_mounts_are_those_of_the_layout():
    assert host_vault._request_of({"kind": "kv", "path": "p", "key": "k"}, {})[0] == f"{paths.KV_MOUNT}/data/p"
    assert host_vault._request_of({"kind": "database", "role": "r"}, {})[0] == f"{paths.DATABASE_MOUNT}/static-creds/r"


def test_modules_know_the_programs_codes():
    assert (callers.NOT_ENROLLED, callers.REFUSED, callers.TAMPERED) == (
        host_vault.NOT_ENROLLED,
        host_vault.REFUSED,
        host_vault.TAMPERED,
    )
    assert callers.judge({"renewal_due": False}).needs_enrolment is False
    assert callers.judge({"renewal_due": False}, renew=True).needs_enrolment is True
    assert callers.judge({"renewal_due": True, "remaining_seconds": 86400 * 9}).reason.startswith("it ends in 9 days")
    assert callers.judge_failure(callers.SourceError("x", callers.REFUSED)).needs_enrolment is True
    with pytest.raises(callers.SourceError):
        callers.judge_failure(callers.SourceError("sealed", host_vault.SEALED))


# Against a real server.

POLICY = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "signalbox/data/apps/api/secrets" { capabilities = ["read"] }
path "signalbox/data/apps/api/none" { capabilities = ["read"] }
path "pki/sign/host-a" { capabilities = ["update"] }
"""
CREATION = "auth/approle/role/host-a/secret-id"


class Sealing(host_vault.Host):
    """Seals by writing down: a test machine may have no systemd; the molecule scenario uses the real one."""

    def execute_or_keep(self, command, content=b""):
        if command[0] != "systemd-creds":
            return host_vault.run(command, content)
        if command[1] == "has-tpm2":
            raise host_vault.Failure(host_vault.UNSEALABLE, "none")
        if command[1] == "decrypt":
            return Path(command[-2]).read_bytes()
        return content

    def __init__(self, configuration):
        super().__init__(configuration, self.execute_or_keep)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    vault_server = pytest.importorskip("vault_server")
    with vault_server.running(tmp_path_factory.mktemp("bao")) as running:
        root = running.client()
        root.sys.enable_auth_method("approle")
        root.sys.enable_secrets_engine("kv", path="signalbox", options={"version": "2"})
        root.sys.enable_secrets_engine("pki", path="pki")
        root.sys.create_or_update_policy("host-a", POLICY)
        settings = {"token_policies": ["host-a"], "secret_id_ttl": "90s", "token_no_default_policy": True}
        root.write_data("auth/approle/role/host-a", data=settings)
        root.write_data("auth/approle/role/host-b", data={"token_policies": ["host-a"]})
        time.sleep(1)  # a fresh key-value mount upgrades itself for a moment
        root.secrets.kv.v2.create_or_update_secret("apps/api/secrets", {"API_KEY": SECRET}, mount_point="signalbox")
        ca = root.write_data("pki/root/generate/internal", data={"common_name": "Root", "key_type": "ec"})
        roles = {"allowed_domains": "a.test", "allow_bare_domains": True, "key_type": "ec", "ttl": "72h"}
        root.write_data("pki/roles/host-a", data=roles)
        with open(running.ca_file, "a") as stream:
            stream.write("\n" + ca["data"]["certificate"] + "\n")
        yield running


@pytest.fixture
def enrolled(server, tmp_path, monkeypatch):
    monkeypatch.setattr(host_vault, "IDENTITY", str(tmp_path / "credstore" / "signalbox-vault-identity"))
    monkeypatch.setattr(host_vault, "STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setattr(host_vault, "SECRET_DIRECTORY", str(tmp_path / "run"))
    configuration = {"addresses": [server.address], "ca_file": server.ca_file, "certificate_directory": str(tmp_path)}
    return host_vault.Vault(configuration), Sealing(configuration)


def issue(server, role="host-a"):
    answer = server.client().write_data(f"auth/approle/role/{role}/secret-id", data={}, wrap_ttl="120s")
    role_id = server.client().read(f"auth/approle/role/{role}/role-id")["data"]["role_id"]
    return {"role_id": role_id, "wrapping_token": answer["wrap_info"]["token"], "creation_path": CREATION}


def test_enrolment_check_and_fetch(server, enrolled):
    vault_, host = enrolled
    with pytest.raises(host_vault.Failure) as caught:
        host_vault.fetch(vault_, host, SOURCES)
    assert caught.value.code == host_vault.NOT_ENROLLED
    age = host_vault.enrol(vault_, host, issue(server), time.time())
    assert age["life_seconds"] == 90
    assert age["secret_id_accessor"]
    assert os.stat(host_vault.IDENTITY).st_mode & 0o777 == 0o400
    found = host_vault.check(vault_, host, {"API_KEY": SOURCES["API_KEY"]}, time.time())
    assert (found["readable"], found["policies"]) == (["API_KEY"], ["host-a"])
    assert SECRET not in json.dumps(found)
    assert host_vault.fetch(vault_, host, {"API_KEY": SOURCES["API_KEY"]}) == {"API_KEY": SECRET}
    with pytest.raises(host_vault.Failure) as caught:
        host_vault.fetch(vault_, host, {**SOURCES, "NONE": {"kind": "kv", "path": "apps/api/none", "key": "K"}})
    assert caught.value.code == host_vault.DENIED
    assert all(name in str(caught.value) for name in ("database_blue", "cache_blue", "TOKEN", "NONE"))


def test_no_token_outlives_the_program(server, enrolled):
    vault_, host = enrolled
    host_vault.enrol(vault_, host, issue(server), time.time())

    def tokens():
        return len(server.client().list("auth/token/accessors")["data"]["keys"])

    before = tokens()
    host_vault.fetch(vault_, host, {"API_KEY": SOURCES["API_KEY"]})
    assert tokens() == before


def test_a_stolen_wrapping_token_is_an_alarm_and_keeps_the_old_identity(server, enrolled):
    vault_, host = enrolled
    host_vault.enrol(vault_, host, issue(server), time.time())
    before = Path(host_vault.IDENTITY).read_bytes()
    stolen = issue(server)
    server.client(token=stolen["wrapping_token"]).sys.unwrap()
    exchanged = {**issue(server, "host-b"), "creation_path": CREATION}
    for wrapped, words in ((stolen, "unwrapped before"), (exchanged, "exchanged")):
        with pytest.raises(host_vault.Failure, match=words) as caught:
            host_vault.enrol(vault_, host, wrapped, time.time())
        assert caught.value.code == host_vault.TAMPERED
        assert "ALARM" in str(caught.value)
        assert wrapped["wrapping_token"] not in str(caught.value)
    assert Path(host_vault.IDENTITY).read_bytes() == before


def test_a_revoked_identity_is_told_from_a_missing_policy(server, enrolled):
    vault_, host = enrolled
    age = host_vault.enrol(vault_, host, issue(server), time.time())
    server.client().sys.create_or_update_policy("host-a", 'path "sys/none" { capabilities = ["read"] }')
    try:
        with pytest.raises(host_vault.Failure) as caught:
            host_vault.check(vault_, host, {}, time.time())
        assert caught.value.code == host_vault.DENIED
    finally:
        server.client().sys.create_or_update_policy("host-a", POLICY)
    accessor = {"secret_id_accessor": age["secret_id_accessor"]}
    server.client().write_data("auth/approle/role/host-a/secret-id-accessor/destroy", data=accessor)
    with pytest.raises(host_vault.Failure, match="refuses this host's identity") as caught:
        host_vault.check(vault_, host, {}, time.time())
    assert caught.value.code == host_vault.REFUSED


def test_a_token_that_ends_during_the_run_is_told_from_a_missing_policy(server, enrolled):
    vault_, host = enrolled
    host_vault.enrol(vault_, host, issue(server), time.time())
    role, sources = "auth/approle/role/host-a", {"API_KEY": SOURCES["API_KEY"]}
    server.client().write_data(role, data={"token_num_uses": 1})
    try:
        with pytest.raises(host_vault.Failure, match="ended or was revoked during the run") as caught:
            host_vault.check(vault_, host, sources, time.time())
    finally:
        server.client().write_data(role, data={"token_num_uses": 0})
    assert caught.value.code == host_vault.ENDED
    assert host_vault.check(vault_, host, sources, time.time())["readable"] == ["API_KEY"]


def test_sealed_and_stopped_servers_are_told_apart(tmp_path):
    vault_server = pytest.importorskip("vault_server")
    with vault_server.running(tmp_path / "bao", seal="shamir") as running:
        configuration = {"addresses": [running.address], "ca_file": running.ca_file}
        asking = host_vault.Vault(configuration, sleep=lambda _seconds: None)
        running.client().sys.seal()
        with pytest.raises(host_vault.Failure) as sealed, asking.session(IDENTITY):
            pass
    with pytest.raises(host_vault.Failure) as stopped, asking.session(IDENTITY):
        pass
    assert (sealed.value.code, stopped.value.code) == (host_vault.SEALED, host_vault.UNREACHABLE)


@pytest.fixture
def slot(enrolled, server, tmp_path):
    """A slot as the module leaves it, on a host with an identity."""
    vault_, host = enrolled
    host_vault.enrol(vault_, host, issue(server), time.time())
    made = host_vault.Slot("api", "blue")
    for path in (made.sealed, made.environment):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    keeping = {"keep_seconds": 3600, "sources": {"API_KEY": SOURCES["API_KEY"]}}
    Path(made.sources).write_text(json.dumps(keeping))
    Path(made.template).write_text(to_shell({"API_KEY": "${signalbox:API_KEY}", "MODE": "fast"}))
    return made


def test_an_environment_is_restored_from_its_sources(enrolled, slot):
    vault_, host = enrolled
    said = []
    host_vault.restore(vault_, host, [slot], said.append, time.time())
    assert Path(slot.environment).read_text() == to_shell({"API_KEY": SECRET, "MODE": "fast"})
    assert Path(slot.sealed).read_text() == Path(slot.environment).read_text()
    assert SECRET not in "".join(said)


def test_a_refresh_seals_what_runs_and_names_what_differs(enrolled, slot):
    vault_, host = enrolled
    running = to_shell({"API_KEY": "an older value", "MODE": "fast"})
    Path(slot.environment).write_text(running)
    said = []
    host_vault.refresh(vault_, host, said.append, time.time())
    assert Path(slot.sealed).read_text() == running == Path(slot.environment).read_text()
    assert "which a release brings: API_KEY" in said[0]
    assert SECRET not in "".join(said)
    assert "older value" not in "".join(said)


def test_a_refresh_by_a_host_that_may_not_read_leaves_the_copy_and_fails(enrolled, slot, server):
    vault_, host = enrolled
    Path(slot.environment).write_text("")
    Path(slot.sealed).write_text("old")
    keeping = {"keep_seconds": 3600, "sources": {"X": {"kind": "kv", "path": "apps/other/secrets", "key": "X"}}}
    Path(slot.sources).write_text(json.dumps(keeping))
    with pytest.raises(host_vault.Failure, match="keeps its time limit") as caught:
        host_vault.refresh(vault_, host, lambda _line: None, time.time())
    assert caught.value.code == host_vault.DENIED
    assert Path(slot.sealed).read_text() == "old"


def test_a_refresh_fails_before_the_identity_ends(enrolled, slot):
    vault_, host = enrolled
    Path(slot.environment).write_text("")
    said = []
    with pytest.raises(host_vault.Failure) as caught:
        host_vault.refresh(vault_, host, said.append, time.time() + 80)
    assert caught.value.code == host_vault.ENDING
    assert any("sealed again" in line for line in said)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.parametrize("new_key", [True, False])
def test_a_certificate_is_renewed_when_due_and_left_alone_after(enrolled, server, tmp_path, new_key):
    vault_, host = enrolled
    host_vault.enrol(vault_, host, issue(server), time.time())
    host.configuration.update(certificates=[{"name": "service", "dns": ["a.test"], "new_key": new_key}])
    key, certificate = tmp_path / "service.key", tmp_path / "service.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=old", "-days", "1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o640)
    before, said = key.read_bytes(), []
    host_vault.renew_certificates(vault_, host, said.append, time.time())
    assert said == []
    host_vault.renew_certificates(vault_, host, said.append, time.time() + 20 * 3600)
    assert len(said) == 1
    assert (key.read_bytes() != before) is new_key
    assert key.stat().st_mode & 0o777 == 0o640
    assert certificate.stat().st_mode & 0o777 == 0o644
    verify = ["openssl", "verify", "-CAfile", server.ca_file, "-untrusted", str(certificate), str(certificate)]
    assert subprocess.run(verify, check=True, capture_output=True).returncode == 0
    host_vault.renew_certificates(vault_, host, said.append, time.time())
    assert len(said) == 1
    before, pair = key.read_bytes(), certificate.read_bytes()
    host_vault.renew_certificates(vault_, host, said.append, time.time(), every=True)
    assert said[-1].endswith("renewed, since it was asked for")
    assert certificate.read_bytes() != pair
    assert (key.read_bytes() != before) is new_key
    assert not list(tmp_path.glob(".*"))


def test_a_refused_renewal_leaves_the_pair_as_it_is(enrolled, server, tmp_path):
    vault_, host = enrolled
    host_vault.enrol(vault_, host, issue(server), time.time())
    host.configuration.update(certificates=[{"name": "service", "dns": ["other.test"]}])
    (tmp_path / "service.key").write_text("key")
    with pytest.raises(host_vault.Failure, match="not renewed although"):
        host_vault.renew_certificates(vault_, host, lambda _line: None, time.time())
    assert (tmp_path / "service.key").read_text() == "key"
    assert not (tmp_path / "service.crt").exists()
