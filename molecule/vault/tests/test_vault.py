"""A cluster as the role leaves it: who can reach it, who can read what, and what lies on its disks."""

from __future__ import annotations

import base64
import json

import pytest
from conftest import AUDIT_FILES, NODES, OPERATORS, opened

SCANNED = "/etc /var /opt /srv /root /home /tmp"
FORBIDDEN = (
    "/var/lib/openbao",
    "/srv/audit-one/vault",
    "/etc/openbao/10-server.hcl",
    "/etc/credstore.encrypted",
    "/var/lib/signalbox/vault",
    "/var/lib/signalbox/vault-snapshots",
    "/run/signalbox-vault",
    "/run/credentials/signalbox-vault.service",
)


def forms(secret: bytes) -> list[str]:
    """A secret as it may stand in a file, as grep patterns of hexadecimal escapes."""
    shapes = (secret, base64.b64encode(secret).rstrip(b"="), secret.hex().encode())
    return ["".join(f"\\x{byte:02x}" for byte in shape) for shape in shapes]


def found(node, patterns) -> str:
    quoted = " ".join(f"-e '{pattern}'" for pattern in patterns)
    # The program itself is full of examples, and its checksum is known.
    return node.run(f"LC_ALL=C grep -rlaP --exclude=bao {quoted.replace('-e', '', 1)} {SCANNED}").stdout.strip()


def test_it_listens_on_the_given_addresses_alone(nodes) -> None:
    for node in nodes:
        own = node.sh("hostname -i").split()[0]
        listening = {line.split()[3] for line in node.sh("ss -Hltn").splitlines() if ":820" in line}
        assert listening == {f"{address}:{port}" for address in (own, "127.0.0.1") for port in (8200, 8201)}


def test_all_nodes_vote(first) -> None:
    status, answer = first.api("GET", "sys/storage/raft/autopilot/state", token=first.login())
    assert status == 200
    servers = answer["data"]["servers"]
    assert {name: server["status"] in ("leader", "voter") for name, server in servers.items()} == dict.fromkeys(
        NODES, True
    )


def test_secrets_are_on_no_disk(nodes, first) -> None:
    key = base64.b64decode(first.unsealed("signalbox-vault-seal-key-1"))
    credential = json.loads(base64.b64decode(first.unsealed("signalbox-vault-provisioner")))
    shares = [opened(name, "share").encode() for name in ("alice", "bob")]
    assert len(key) == 32
    for node in nodes:
        for secret in (key, credential["secret_id"].encode(), *shares):
            for pattern in forms(secret):
                assert found(node, [pattern]) == ""
        # A token of OpenBao; audit files hold them hashed.
        assert found(node, [r"(?<![A-Za-z0-9.+/_-])s\.[A-Za-z0-9]{24}(?![A-Za-z0-9])"]) == ""
        journal = node.sh("journalctl --no-pager --output cat")
        assert credential["secret_id"] not in journal
        assert shares[0].decode() not in journal
    first.sh(f"printf %s {credential['secret_id']} >/var/tmp/leak")
    try:
        assert found(first, [forms(credential["secret_id"].encode())[0]]) == "/var/tmp/leak", "the search finds nothing"
    finally:
        first.sh("rm /var/tmp/leak")


def test_others_read_nothing(nodes) -> None:
    for node in nodes:
        for path in FORBIDDEN:
            if not node.host.file(path).exists:
                assert (node.name, path) != ("vault1", path), "the first node has all of them"
                continue
            assert node.run(f"setpriv --reuid nobody --clear-groups sh -c 'ls {path}/ || cat {path}'").rc != 0, path
        socket = "/run/signalbox-vault/operator.sock"
        command = f"curl -s -m 5 --unix-socket {socket} http://localhost/v1/sys/seal-status"
        assert node.run(f"setpriv --reuid nobody --clear-groups {command}").rc != 0
        assert node.run(command).rc == 0


def test_a_root_token_is_made_on_the_socket_alone(first) -> None:
    assert first.api("GET", "sys/generate-root/attempt")[0] in (404, 405)
    status, answer = first.api("GET", "sys/generate-root/attempt", socket="/run/signalbox-vault/operator.sock")
    assert (status, answer["started"]) == (200, False)


def test_memory_stays_in_memory(nodes) -> None:
    for node in nodes:
        process = node.main_pid()
        assert node.sh("systemctl show --value -P MemorySwapMax signalbox-vault") == "0"
        assert " 0 " in node.sh(f"grep 'Max core file size' /proc/{process}/limits")
        status = node.sh(f"cat /proc/{process}/status")
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        assert node.sh(f"ps -o user= -p {process}") == "vault"


def test_every_operator_has_a_handout_that_opens(first) -> None:
    for name in ("alice", "bob"):
        path = OPERATORS / "handout" / f"{name}.json"
        assert path.stat().st_mode & 0o777 == 0o600
        document = json.loads(path.read_text())
        assert (document["shares"], document["threshold"]) == (2, 2)
        assert opened(name, "seal_key") == first.unsealed("signalbox-vault-seal-key-1")


@pytest.mark.parametrize("path", AUDIT_FILES)
def test_requests_are_recorded_with_who(first, path: str) -> None:
    token = first.login()
    first.api("GET", "auth/token/lookup-self", token=token)
    entries = [json.loads(line) for line in first.sh(f"tail -n 60 {path}").splitlines()]
    assert any(entry["request"]["path"] == "auth/token/lookup-self" for entry in entries)
    assert any("signalbox-provisioner" in str(entry.get("auth", {})) for entry in entries)
    assert token not in first.sh(f"cat {path}")


def test_the_check_is_content(nodes) -> None:
    for node in nodes:
        good, said = node.check()
        assert good, said
        assert node.metric("signalbox_vault_check_success") == 1
