"""What goes wrong with Vault, and that each refusal says what to do: on a real server, and as a table."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_vault_layout import WANTED, bring_about
from vault_provisioner import credential
from vault_server import running

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate as rules
from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils._certificate_authority import Authority
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Answer, VaultError, refusal
from ansible_collections.signalbox.platform.plugins.module_utils._vault_catalogue import read
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Settings, Vault, logged_in

ADDRESS = "https://10.0.0.9:8200"


@pytest.mark.parametrize(
    ("answer", "path", "message"),
    [
        (Answer(503, {"errors": ["Vault is sealed"]}), "sys/mounts", "it is sealed.*Remedy: restart its service"),
        (
            Answer(500, {"errors": ["internal error"]}),
            "sys/mounts",
            "no audit device can be written.*Remedy: make room",
        ),
        (Answer(500, {"errors": ["role is\n\tbroken"]}), "x/y", "status 500: role is broken"),
        (Answer(501), "sys/mounts", "not initialised. Remedy: run the role vault"),
        (Answer(429), "sys/mounts", "refuses more requests for now"),
        (
            Answer(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}),
            "x/y",
            "permission denied for GET x/y.*which writes the policies",
        ),
        (Answer(400, {"errors": ["invalid secret id"]}), "auth/approle/login", "secret id ended or was destroyed"),
        (Answer(404), "x/y", "status 404: no reason"),
        (Answer(307), "x/y", "has no leader.*Remedy: see that most"),
    ],
)
def test_every_refusal_has_a_remedy(answer: Answer, path: str, message: str) -> None:
    with pytest.raises(VaultError, match=rf"Vault at {ADDRESS}: .*{message}"):
        raise refusal(answer, "GET", path, ADDRESS)


def test_answers_that_are_no_json_are_survived() -> None:
    assert Answer.of(502, "<html>Bad gateway</html>").errors == ()
    assert Answer.of(200, "[]").body == {}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("vault")) as server:
        yield server


@pytest.fixture
def settings(server) -> Settings:
    return Settings(server.address, server.ca_file, timeout_seconds=5)


def fails(settings: Settings, sealed: str, message: str) -> None:
    with pytest.raises(VaultError, match=message) as caught, logged_in(settings, lambda _path: sealed) as vault:
        read(vault, WANTED)
    assert not sealed.startswith("{") or str(json.loads(sealed).get("secret_id")) not in str(caught.value)


@pytest.mark.parametrize("content", ["nonsense", "{}", '{"role_id": "r"}', "[]"])
def test_a_credential_that_is_none(settings, content):
    fails(settings, content, "is no credential of Vault.*Remedy: run the role vault")


def test_a_secret_id_that_is_gone(server, settings):
    sealed = {**json.loads(credential(server)), "secret_id": "11111111-2222-3333-4444-555555555555"}
    fails(settings, json.dumps(sealed), "does not know this host's credential any more.*Remedy: enrol")


def test_an_address_that_is_not_bound(server, settings):
    sealed = credential(server)
    root = server.client()
    root.auth.approle.create_or_update_approle("signalbox-provisioner", secret_id_bound_cidrs=["10.99.0.1/32"])
    try:
        fails(settings, sealed, "refuses this host's address")
    finally:
        root.write_data("auth/approle/role/signalbox-provisioner", data={"secret_id_bound_cidrs": []})


def test_a_policy_that_is_missing(server, settings):
    sealed = credential(server)
    server.client().sys.delete_policy("signalbox-provisioner")
    fails(settings, sealed, "permission denied for GET sys/mounts.*if it is the provisioner who is refused")


def test_a_token_that_ends_in_mid_run(server, settings):
    sealed = credential(server)
    with logged_in(settings, lambda _path: sealed) as vault:
        server.client().revoke_token(vault._client.token)
        with pytest.raises(VaultError, match="the token ended or was revoked during the run"):
            vault.get("sys/mounts")


def test_an_authority_that_is_another(server, settings, tmp_path):
    other = Authority(str(tmp_path / "ca"), "Other", 10)
    with other.opened(files.utc_now()):
        wrong = Settings(server.address, str(tmp_path / "ca/ca.crt"))
    fails(wrong, credential(server), "its certificate is not what .* ask for .*certificate verify failed")
    absent = Settings(server.address, str(tmp_path / "absent.crt"))
    fails(
        absent,
        credential(server),
        "absent.crt is missing or unreadable. Remedy: run the role certificates on this host",
    )


def test_a_certificate_that_ended(server, tmp_path):
    now, store = files.utc_now(), files.Store(str(tmp_path / "tls"), False)
    store.prepare()
    request = rules.parse_request({"name": "vault", "addresses": ["127.0.0.1"]})
    authority = Authority(str(tmp_path / "ca"), "Test CA", 3650)
    with authority.opened(now - timedelta(days=40)):
        chain = authority.sign(request, store.signing_request(request), "vault1", 30, now - timedelta(days=40))
    store.install(request, chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*store.paths(request))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_shake_hands, args=(listener, context), daemon=True).start()
        settings = Settings(
            f"https://127.0.0.1:{listener.getsockname()[1]}", str(tmp_path / "ca/ca.crt"), timeout_seconds=5
        )
        fails(
            settings, credential(server), "its certificate ended. Remedy: run the role certificates on the Vault host"
        )


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _peer = listener.accept()
    try:
        context.wrap_socket(connection, server_side=True)
    except OSError:
        connection.close()


def test_work_that_is_laid_out_twice_under_a_new_login_is_unchanged(server, settings):
    sealed = credential(server)
    with logged_in(settings, lambda _path: sealed) as vault:
        assert bring_about(vault)
    with logged_in(settings, lambda _path: sealed) as vault:
        assert bring_about(vault) == []


def test_another_node_is_asked_where_one_is_gone(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"https://127.0.0.1:{listener.getsockname()[1]}"
    settings = Settings(gone, server.ca_file, timeout_seconds=5, others=(gone, server.address))
    sealed = credential(server)
    with logged_in(settings, lambda _path: sealed) as vault:
        assert "sys/" in vault.get("sys/mounts")
    fails(Settings(gone, server.ca_file, others=(gone,)), sealed, "it does not answer .*refused")


def test_a_write_that_a_node_may_have_got_is_given_to_no_other(server):
    """Whoever takes the request and says nothing may have done it; a read is asked of the next one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = Settings(
            f"https://127.0.0.1:{listener.getsockname()[1]}",
            server.ca_file,
            timeout_seconds=0.5,
            others=(server.address,),
        )
        with pytest.raises(VaultError, match="took too long"):
            Vault(silent, server.root_token).post("sys/rotate", {})
        assert "sys/" in Vault(silent, server.root_token).get("sys/mounts")


def test_a_sealed_server_then_a_stopped_one(server, settings):
    sealed = credential(server)
    # A server that was initialised since its start still looks for its key every few seconds, and opens itself again.
    server.stop()
    server.start()
    server._wait(lambda health: not health["standby"])
    server.client().sys.seal()
    fails(settings, sealed, "it is sealed, or has no active node. Remedy: restart its service")
    server.stop()
    fails(settings, sealed, "it does not answer .*refused.*Remedy: start its service")


COLLISION = "1 error occurred:\n\t* transaction commit failed\n\n"
ELECTION = "local node not active but active cluster node not found"


class Stumbling(Vault):
    """Fails the first requests as OpenBao does when two write at the same moment, or while a leader is elected."""

    def __init__(self, failures: int, said: str) -> None:
        super().__init__(Settings(ADDRESS, "/none"))
        self.left, self.asked, self.said = failures, 0, said

    def _ask(self, *_request: object) -> Answer:
        self.asked += 1
        if self.asked <= self.left:
            return Answer(500, {"errors": [self.said]})
        return Answer(200, {"data": {"kept": True}})


@pytest.mark.parametrize("said", [COLLISION, ELECTION])
def test_a_request_that_collided_or_found_no_leader_is_sent_again(said: str) -> None:
    vault = Stumbling(2, said)
    assert vault.get("sys/mounts") == {"kept": True}
    assert vault.asked == 3


class Nodes(Vault):
    """A cluster whose nodes answer as they are told, one answer for each request."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(Settings("1", "/none", others=tuple("23456789"[: len(answers) - 1])))
        self.told, self.asked = dict(zip("123456789", answers)), []

    def _ask(self, *_request: object) -> Answer:
        self.asked.append(self._nodes[0])
        assert self._client.url == self._nodes[0]
        return self.told[self._nodes[0]]


@pytest.mark.parametrize("first", [Answer(503), Answer(501), Answer(307), Answer(500, {"errors": [ELECTION]})])
def test_a_node_out_of_service_is_passed_over_from_then_on(first: Answer) -> None:
    vault = Nodes(first, Answer(200), Answer(200))
    assert vault.post("x", {}) == vault.post("x", {}) == {}
    assert vault.asked == ["1", "2", "2"]


def test_a_refusal_is_an_answer() -> None:
    vault = Nodes(Answer(403, {"errors": ["permission denied"]}), Answer(200))
    with pytest.raises(VaultError, match="Vault at 1: the token ended"):
        vault.get("x")
    assert vault.asked == ["1"]


def test_a_cluster_without_a_leader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: vault.told.update({"3": Answer(200)}))
    vault = Nodes(Answer(503), Answer(500, {"errors": [ELECTION]}), Answer(503))
    assert vault.get("x") == {}
    assert vault.asked == ["1", "2", "3", "1", "2", "3"]
