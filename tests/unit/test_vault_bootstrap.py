"""The bootstrap of Vault: its rules as tables, and the whole of it against a real server on loopback."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hvac
import pysequoia
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vault_server import VaultServer, running

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_bootstrap as rules
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import Seen, Wanted, judge
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_run import Bootstrap, Site

KEY = base64.b64encode(b"\x99\x01\x0d" + bytes(20)).decode()  # the head of a public key packet is what is looked at
STARTED = {"state": "started", "started": "2026-11-23T10:00:00Z"}
FINISHED = {"state": "finished", "finished": "2026-11-23T10:00:05Z"}
UP = Seen(initialised=True)
READY = replace(UP, credential=True, login=True, record=FINISHED)
KEYS = Wanted(pgp_keys={"alice": KEY, "bob": KEY}, threshold=2)

VERDICTS = {
    "no answer": (
        Seen(reachable=False, reason="It does not answer."),
        KEYS,
        "unreachable",
        "fail",
        "journalctl --unit",
    ),
    "fresh": (Seen(), KEYS, "uninitialised", "initialise", ""),
    "fresh, of nobody": (Seen(), Wanted(), "uninitialised", "fail", "vault_pgp_keys: is empty"),
    "fresh lab": (Seen(), Wanted(lab=True), "uninitialised", "initialise", ""),
    "shamir needs people even in a lab": (
        Seen(),
        Wanted(seal="shamir", lab=True),
        "uninitialised",
        "fail",
        "never be unsealed",
    ),
    "lost its storage": (Seen(record=FINISHED), KEYS, "uninitialised", "fail", "entry point restore"),
    "fresh beside a cluster": (Seen(peers_initialised=("https://b",)), KEYS, "uninitialised", "fail", "second one"),
    "sealed, by itself": (replace(UP, sealed=True), KEYS, "sealed", "fail", "restart unseals it"),
    "sealed, by people": (
        replace(UP, sealed=True, seal="shamir", threshold=3),
        KEYS,
        "sealed",
        "fail",
        "3 of its unseal shares",
    ),
    "ready": (READY, KEYS, "ready", "nothing", ""),
    "ready needs no keys": (READY, Wanted(), "ready", "nothing", ""),
    "died after the last step": (replace(READY, record=STARTED), KEYS, "ready", "record", ""),
    "died half way": (replace(UP, record=STARTED), KEYS, "not_bootstrapped", "fail", "vault_reset_unfinished"),
    "died half way, reset": (
        replace(UP, record=STARTED),
        replace(KEYS, reset_unfinished=True),
        "not_bootstrapped",
        "reset",
        "",
    ),
    "finished is never reset": (
        replace(UP, record=FINISHED),
        replace(KEYS, reset_unfinished=True),
        "not_bootstrapped",
        "fail",
        "Nothing is emptied",
    ),
    "without a record is never reset": (
        UP,
        replace(KEYS, reset_unfinished=True),
        "not_bootstrapped",
        "fail",
        "something else than this role",
    ),
    "with a credential is never reset": (
        replace(UP, record=STARTED, credential=True, login_problem="Refused."),
        replace(KEYS, reset_unfinished=True),
        "not_bootstrapped",
        "fail",
        "Refused.",
    ),
    "lost its provisioner": (
        replace(UP, record=FINISHED),
        replace(KEYS, recovery_shares=True),
        "not_bootstrapped",
        "recover",
        "",
    ),
    "restored over nothing": (Seen(), replace(KEYS, restore=True), "uninitialised", "initialise", ""),
    "restored over something": (READY, replace(KEYS, restore=True), "ready", "fail", "serves already"),
}


@pytest.mark.parametrize(("seen", "wanted", "state", "action", "says"), VERDICTS.values(), ids=VERDICTS.keys())
def test_states_are_told_apart(seen: Seen, wanted: Wanted, state: str, action: str, says: str) -> None:
    verdict = judge(seen, wanted)
    assert (verdict.state, verdict.action) == (state, action)
    assert says in verdict.message
    assert bool(verdict.message) is (action == "fail")


@pytest.mark.parametrize(
    ("keys", "threshold", "says"),
    [
        ({"a": KEY, "b": KEY}, 3, "more than the 2 keys"),
        ({"a": KEY, "b": KEY}, 1, "2 or more"),
        ({"a": "not a key"}, 0, "vault_pgp_keys.a: is no PGP public key"),
        ({"a": base64.b64encode(b"plain bytes").decode()}, 0, "is no PGP public key"),
        ({"a": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"}, 0, "never give one away"),
    ],
)
def test_shares_that_would_lock_everybody_out_are_refused(keys: dict[str, str], threshold: int, says: str) -> None:
    assert says in "; ".join(rules.share_problems(Wanted(pgp_keys=keys, threshold=threshold)))


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (5, 3)])
def test_more_than_half_of_the_shares_by_default(count: int, needed: int) -> None:
    wanted = Wanted(pgp_keys={f"operator{number}": KEY for number in range(count)})
    assert rules.threshold(wanted) == needed
    assert rules.share_problems(wanted) == []


def test_root_tokens_come_back_from_their_one_time_pad() -> None:
    token, pad = "s.0123456789abcdefghijklmn", "A1b2C3d4E5f6G7h8I9j0K1l2M3"
    mixed = bytes(left ^ right for left, right in zip(token.encode(), pad.encode()))
    assert rules.decode_root(base64.b64encode(mixed).decode().rstrip("="), pad) == token


# From here on a real server.


class PlainHost(Host):
    """A host without systemd: what is sealed lies in files, the unit is the test's server."""

    def __init__(self, directory: Path, server: VaultServer) -> None:
        super().__init__(self, str(directory), "test")
        self.server = server

    def run_command(self, args, data=None, encoding="utf-8", **_):
        data = data.encode() if isinstance(data, str) else data
        done = subprocess.run(args, input=data, capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def seal(self, path: str, secret: bytes) -> None:
        Path(path).write_bytes(secret)

    def unseal(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def systemctl(self, verb: str) -> None:
        if verb in ("stop", "restart"):
            self.server.stop()
        if verb in ("start", "restart"):
            self.server.start()


class Operators:
    """People with keys of their own."""

    def __init__(self, *names: str) -> None:
        self.secrets = {name: pysequoia.Tsk.generate(f"{name}@example.com") for name in names}
        self.keys = {name: str(secret.extract_certificate()) for name, secret in self.secrets.items()}

    def open(self, name: str, text: str) -> str:
        message = pysequoia.decrypt(base64.b64decode(text), decryptor=self.secrets[name].decryptor())
        return bytes(message.bytes).decode()


@pytest.fixture(scope="module")
def operators():
    return Operators("alice", "bob")


class Stage:
    def __init__(self, directory: Path, server: VaultServer, wanted: Wanted) -> None:
        self.server, self.wanted = server, wanted
        self.host = PlainHost(directory / "state", server)
        self.credential = directory / "signalbox-vault-provisioner"
        self.site = Site(
            server.address,
            server.ca_file,
            credential=str(self.credential),
            storage=str(server.directory / "raft"),
            socket=str(server.directory / "operator.sock"),
            seal_key=str(server.directory / "seal.key") if wanted.seal == "static" else "",
            networks=("127.0.0.1/32",),
            wait_seconds=20,
        )

    def run(self, shares=(), snapshot="", **changes):
        wanted = replace(self.wanted, recovery_shares=bool(shares), restore=bool(snapshot), **changes)
        run = Bootstrap(self.site, self.host, wanted, shares, snapshot)
        verdict = judge(run.look(), wanted)
        return verdict, verdict.action != "fail" and run.work(verdict)

    def provisioner(self):
        client = self.server.client("")
        client.auth.approle.login(**json.loads(self.credential.read_text()))
        return client

    def handout(self, name: str) -> dict:
        return json.loads(self.host.handouts()[name])

    def everything_kept(self) -> bytes:
        files = [path for path in self.server.directory.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)


def test_a_fresh_server_ends_ready_and_without_a_root_token(tmp_path: Path, operators: Operators) -> None:
    with running(tmp_path / "vault", initialise=False) as server:
        stage = Stage(tmp_path, server, Wanted(pgp_keys=operators.keys))
        verdict, changed = stage.run()
        assert (verdict.state, verdict.action, changed) == ("uninitialised", "initialise", True)

        client = stage.provisioner()
        with pytest.raises(hvac.exceptions.Forbidden):
            client.list("auth/token/accessors")
        policy = client.lookup_token()["data"]
        assert policy["policies"] == ["signalbox-provisioner"]

        verdict, changed = stage.run()
        assert (verdict.state, verdict.action, changed) == ("ready", "nothing", False)

        share = operators.open("alice", stage.handout("alice")["share"])
        assert (
            operators.open("bob", stage.handout("bob")["seal_key"])
            == base64.b64encode((server.directory / "seal.key").read_bytes()).decode()
        )
        assert share.encode() not in stage.everything_kept()
        with pytest.raises(RuntimeError, match="No key to decrypt"):
            Operators("eve").open("eve", stage.handout("alice")["share"])


def test_a_lost_provisioner_is_made_anew_by_a_quorum_and_only_by_one(tmp_path: Path, operators: Operators) -> None:
    with running(tmp_path / "vault", initialise=False) as server:
        stage = Stage(tmp_path, server, Wanted(pgp_keys=operators.keys))
        stage.run()
        shares = [operators.open(name, stage.handout(name)["share"]) for name in ("alice", "bob")]
        stage.credential.unlink()
        verdict, _ = stage.run()
        assert (verdict.state, verdict.action) == ("not_bootstrapped", "fail")
        with pytest.raises(rules.BootstrapError, match="not enough"):
            stage.run(shares=shares[:1])
        with pytest.raises(rules.BootstrapError, match="refused"):
            stage.run(shares=["00" * 33, "11" * 33])
        verdict, changed = stage.run(shares=shares)
        assert (verdict.action, changed) == ("recover", True)
        assert stage.provisioner().lookup_token()["data"]["policies"] == ["signalbox-provisioner"]


@pytest.mark.parametrize("kind", ["openbao", "hashicorp"])
def test_shamir_ends_with_shares_that_only_the_operators_can_open(
    tmp_path: Path, operators: Operators, kind: str
) -> None:
    """HashiCorp's way to exchange shares is tried on the paths of it that OpenBao can still be told to serve."""
    legacy = kind == "hashicorp"
    with running(tmp_path / "vault", seal="shamir", initialise=False, legacy_rekey=legacy) as server:
        stage = Stage(tmp_path, server, Wanted(seal="shamir", pgp_keys=operators.keys))
        stage.site = replace(stage.site, kind=kind)
        assert stage.run()[0].action == "initialise"
        assert stage.run()[0].action == "nothing"
        server.stop()
        server.start()
        verdict, _ = stage.run()
        assert verdict.state == "sealed"
        assert "2 of its unseal shares" in verdict.message
        for name in ("alice", "bob"):
            server.client("").sys.submit_unseal_key(operators.open(name, stage.handout(name)["share"]))
        server._wait(lambda health: not health["sealed"] and not health["standby"])
        assert stage.run()[0].action == "nothing"


def test_a_bootstrap_that_died_is_reset_only_when_it_provably_never_ended(tmp_path: Path) -> None:
    with running(tmp_path / "vault", initialise=False) as server:
        stage = Stage(tmp_path, server, Wanted(lab=True))
        stage.host.write_record(state="started", started="2026-11-23T10:00:00Z")
        server.initialise()  # and then its controller was killed
        verdict, _ = stage.run()
        assert (verdict.state, verdict.action) == ("not_bootstrapped", "fail")
        verdict, changed = stage.run(reset_unfinished=True)
        assert (verdict.action, changed) == ("reset", True)
        assert stage.run(reset_unfinished=True)[0].action == "nothing"
        stage.credential.unlink()
        verdict, _ = stage.run(reset_unfinished=True)
        assert verdict.action == "fail", "a finished one is never emptied"


def test_a_snapshot_comes_back_on_a_fresh_server(tmp_path: Path, operators: Operators) -> None:
    snapshot = tmp_path / "snapshot"
    with running(tmp_path / "one", initialise=False) as server:
        first = Stage(tmp_path, server, Wanted(pgp_keys=operators.keys))
        first.run()
        first.provisioner().sys.enable_secrets_engine("kv", path="signalbox")
        token = _snapshot_token(first)
        snapshot.write_bytes(server.client(token).sys.take_raft_snapshot().content)
        shares = [operators.open(name, first.handout(name)["share"]) for name in ("alice", "bob")]
    (tmp_path / "other").mkdir()
    other = VaultServer(tmp_path / "other" / "vault")
    shutil.copy(tmp_path / "one/seal.key", other.directory / "seal.key")
    # The audit device of a snapshot must mean the same on the node that takes it.
    config = other.directory / "config.hcl"
    config.write_text(config.read_text().replace(str(other.audit_file), str(tmp_path / "one/audit.log")))
    try:
        other.start()
        second = Stage(tmp_path / "other", other, Wanted(pgp_keys=operators.keys))
        verdict, _ = second.run(shares=shares, snapshot=str(snapshot))
        assert verdict.action == "initialise"
        assert "signalbox/" in second.provisioner().sys.list_mounted_secrets_engines()["data"]
        assert second.run()[0].action == "nothing"
    finally:
        other.stop()


def _snapshot_token(stage: Stage) -> str:
    """The snapshot's own identity, made as a node's is."""
    from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
    from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_server import Server
    from ansible_collections.signalbox.platform.plugins.module_utils._vault_policies import SNAPSHOT_POLICY
    from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Settings

    settings = Settings(stage.site.address, stage.site.ca_file)
    server = Server(settings, stage.provisioner().token)
    assert server.lay_out(paths.SNAPSHOT, SNAPSHOT_POLICY)
    assert not server.lay_out(paths.SNAPSHOT, SNAPSHOT_POLICY)
    wrapped = server.wrapped(f"auth/approle/role/{paths.SNAPSHOT}/secret-id", {}, 60)
    secret = server.unwrap(wrapped["token"])["secret_id"]
    client = stage.server.client("")
    return client.auth.approle.login(server.role_id(paths.SNAPSHOT), secret)["auth"]["client_token"]
