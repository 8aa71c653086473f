"""What happens to a cluster in its life: full volumes, lost leaders, certificates, sealing, a new host. Runs last."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import threading
import time

import pytest
from conftest import AUDIT_FILES, OPERATORS, Node, changes, opened, wait_for

DATA = "signalbox/data/apps/agent-api/secrets"
CANARY = {"data": {"API_KEY": "canary-0123456789"}}


@pytest.fixture(scope="module", autouse=True)
def canary(first):
    """Something worth keeping."""
    token = first.login()
    if first.api("GET", DATA, token=token)[0] != 200:
        first.api("POST", "sys/mounts/signalbox", {"type": "kv", "options": {"version": "2"}}, token)
        assert wait_for(lambda: first.api("POST", DATA, CANARY, token)[0] == 200, 20)


def readable(node) -> bool:
    status, answer = node.api("GET", DATA, token=node.login())
    return status == 200 and answer["data"]["data"] == CANARY["data"]


def fill(node, path) -> None:
    node.run(f"dd if=/dev/zero of={path.rpartition('/vault')[0]}/filler bs=4k 2>/dev/null; sync")


def empty(node, path) -> None:
    node.run(f"rm -f {path.rpartition('/vault')[0]}/filler")


def test_a_restart_unseals_itself(nodes, first) -> None:
    for node in nodes:
        node.sh("systemctl restart signalbox-vault")
        assert not node.api("GET", "sys/seal-status")[1]["sealed"], "systemctl returns when it is open"
    assert wait_for(lambda: any(node.leads() for node in nodes), 30)
    assert wait_for(lambda: readable(first), 20)


def test_one_full_audit_volume_is_loud_and_harmless(leader, first) -> None:
    fill(leader, AUDIT_FILES[0])
    try:
        assert all(readable(first) for _ in range(5))
        # The last block has room for a record or two, and a standby records the reads that it answers itself.
        assert wait_for(lambda: not leader.check()[0], 60)
        _good, said = leader.check()
        assert f"The audit device at {AUDIT_FILES[0]} did not record" in said
        assert AUDIT_FILES[1] not in said
        assert leader.metric(f'signalbox_vault_audit_written{{path="{AUDIT_FILES[0]}"}}') == 0
        assert leader.metric("signalbox_vault_check_success") == 0
        assert leader.sh("systemctl is-failed signalbox-vault-check.service") == "failed"
    finally:
        empty(leader, AUDIT_FILES[0])
    assert leader.check()[0]


def test_all_full_stops_requests_while_health_stays_green(leader) -> None:
    token = leader.login() if leader.name == "vault1" else ""
    for path in AUDIT_FILES:
        fill(leader, path)
    try:
        assert wait_for(lambda: leader.api("GET", "auth/token/lookup-self", token=token or "s.none")[0] == 500, 10)
        assert leader.health()[0] == 200
        good, said = leader.check()
        assert not good
        assert "Every request fails" in said
        assert "0 KiB free" in said
    finally:
        for path in AUDIT_FILES:
            empty(leader, path)
    assert leader.check()[0]


def test_another_node_takes_over(leader, nodes) -> None:
    others = [node for node in nodes if node is not leader]
    leader.sh("systemctl mask --runtime signalbox-vault && systemctl kill --signal=KILL signalbox-vault")
    began = time.monotonic()
    try:
        assert wait_for(lambda: any(node.leads() for node in others), 30)
        print(f"took over in {time.monotonic() - began:.1f} s")
        assert wait_for(lambda: all(node.api("GET", "sys/health?standbyok=true")[0] == 200 for node in others), 20)
        good, said = next(node for node in others if node.leads()).check()
        if not good:  # autopilot calls it unhealthy after ten seconds
            assert f"Node {leader.name} of the cluster is not healthy" in said
    finally:
        leader.sh("systemctl unmask --runtime signalbox-vault && systemctl start signalbox-vault")
    assert wait_for(lambda: leader.api("GET", "sys/health?standbyok=true")[0] == 200, 30)
    assert wait_for(lambda: all(node.check()[0] for node in nodes), 60)


def test_clients_go_on_without_the_first_node(first, play):
    """The host of the cluster's first node runs, its server is stopped: the others serve hosts and playbooks."""
    token = first.login()
    rights = {DATA: "read", "auth/token/lookup-self": "read", "auth/token/revoke-self": "update"}
    policy = "".join(f'path "{path}" {{ capabilities = ["{right}"] }}\n' for path, right in rights.items())
    assert first.api("POST", "sys/policies/acl/host-vault4", {"policy": policy}, token)[0] == 204
    role = {"token_policies": ["host-vault4"], "token_no_default_policy": True, "secret_id_ttl": "1h"}
    assert first.api("POST", "auth/approle/role/host-vault4", role, token)[0] == 204
    code, text = play("client.yml")
    assert code == 0, text
    client = Node("vault4")
    sources = {"API_KEY": {"kind": "kv", "path": "apps/agent-api/secrets", "key": "API_KEY"}}
    fetch = f"echo '{json.dumps(sources)}' | /usr/local/libexec/signalbox/host-vault fetch"
    first.sh("systemctl mask --runtime signalbox-vault && systemctl kill --signal=KILL signalbox-vault")
    try:
        began = time.monotonic()
        assert json.loads(client.sh(fetch)) == CANARY["data"]
        print(f"fetched in {time.monotonic() - began:.1f} s")
        code, text = play("client.yml", extra={"renew": True})
        assert code == 0, text
        assert json.loads(client.sh(fetch)) == CANARY["data"]
    finally:
        first.sh("systemctl unmask --runtime signalbox-vault && systemctl start signalbox-vault")
    assert wait_for(lambda: first.api("GET", "sys/health?standbyok=true")[0] == 200, 30)


def test_who_read_a_secret_is_known_of_every_node(nodes, play) -> None:
    code, text = play("operate.yml", extra={"entry": "readers", "vault_readers_of": [DATA]})
    assert code == 0, text
    assert "host-vault4" in text, "it was served by another node than the first"
    assert len(re.findall(r"path +identity +address", text)) == len(nodes)
    assert "NOT KNOWN" not in text
    devices = [{"type": "file", "options": {"file_path": "/srv/elsewhere/audit.log"}}]
    extra = {"entry": "readers", "vault_readers_of": [DATA], "vault_audit_devices": devices}
    code, text = play("operate.yml", extra=extra)
    assert (code, text.count("NOT KNOWN for this node: No audit file at /srv/elsewhere/audit.log*")) == (0, len(nodes))


def test_a_renewed_certificate_needs_no_restart(first, nodes, play) -> None:
    before, process = first.serial(), first.main_pid()
    code, text = play("prepare.yml", extra={"certificates_renew_fraction": 1.1})
    assert code == 0, text
    assert wait_for(lambda: first.serial() != before, 15)
    assert first.main_pid() == process
    assert all(node.check()[0] for node in nodes)


def test_rotation_of_the_audit_log_loses_no_record(leader) -> None:
    """Requests run while both files are rotated; each is then found exactly once in each device's files."""
    leader.run("rm -f /tmp/stop")
    script = (
        "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); curl -s -o /dev/null --cacert /etc/signalbox/tls/ca.crt "
        "-H 'X-Vault-Token: s.none' https://127.0.0.1:8200/v1/signalbox/data/rotation-$i; done; echo $i >/tmp/count"
    )
    worker = threading.Thread(target=leader.run, args=(script,))
    worker.start()
    time.sleep(1)
    for _ in range(2):
        leader.sh("logrotate --force /etc/logrotate.d/signalbox-vault")
        time.sleep(1)
    leader.sh("touch /tmp/stop")
    worker.join()
    sent = int(leader.sh("cat /tmp/count"))
    assert sent > 30
    for path in AUDIT_FILES:
        lines = leader.sh(f"zcat -f {path}*").splitlines()
        requests = [json.loads(line)["request"]["path"] for line in lines if '"type":"request"' in line]
        seen = [name for name in requests if name.startswith("signalbox/data/rotation-")]
        assert len(seen) == len(set(seen)) == sent
    assert leader.check()[0]


def test_another_audit_device_needs_no_restart(first, nodes, play) -> None:
    processes = [node.main_pid() for node in nodes]
    other = "/srv/audit-two/vault/other.log"
    devices = [{"type": "file", "options": {"file_path": path}} for path in (AUDIT_FILES[0], other)]
    code, text = play("converge.yml", "--tags", "vault_configure,vault_service", extra={"vault_audit_devices": devices})
    assert code == 0, text
    assert [node.main_pid() for node in nodes] == processes
    for node in nodes:
        assert wait_for(lambda node=node: node.run(f"test -s {other}").rc == 0 or not node.check()[0], 10)
        assert all(node.check()[0] for _ in range(2)), node.name
        assert node.run(f"test -s {other}").rc == 0
    code, text = play("converge.yml")
    assert code == 0, text
    assert [node.main_pid() for node in nodes] == processes


def test_sealing_on_purpose_and_unsealing(nodes, first, play) -> None:
    code, text = play("operate.yml", extra={"entry": "seal"})
    assert code == 0, text
    assert all(node.api("GET", "signalbox/data/x", token="s.none")[0] in (0, 503) for node in nodes)
    sealed = [node for node in nodes if node.api("GET", "sys/seal-status")[1].get("sealed")]
    assert len(sealed) == 2, "the third has no majority, and was stopped"
    good, said = sealed[0].check()
    assert not good
    assert "It is sealed" in said
    code, text = play("converge.yml", "--tags", "vault_bootstrap", extra={"vault_reset_unfinished": True})
    assert code != 0
    assert "entry point unseal" in text or "does not answer" in text
    code, text = play("operate.yml", extra={"entry": "unseal"})
    assert code == 0, text
    assert wait_for(lambda: any(node.leads() for node in nodes), 30)
    assert wait_for(lambda: readable(first), 20)


def test_a_second_bootstrap_changes_nothing(first, play) -> None:
    before = first.unsealed("signalbox-vault-provisioner")
    cluster = first.health()[1]["cluster_id"]
    extra = {"vault_reset_unfinished": True, "vault_pgp_keys": {"eve": (OPERATORS / "alice.asc").read_text()}}
    code, text = play("converge.yml", extra=extra)
    assert (code, changes(text)) == (0, {"0"}), text
    assert first.unsealed("signalbox-vault-provisioner") == before
    assert first.health()[1]["cluster_id"] == cluster
    assert not (OPERATORS / "handout/eve.json").exists()


def test_a_snapshot_comes_back_on_a_fresh_host(leader, first, play) -> None:
    code, text = play("operate.yml", extra={"entry": "snapshot"})
    assert code == 0, text
    directory = "/var/lib/signalbox/vault-snapshots"
    name = leader.sh(f"ls {directory} | tail -n 1")
    assert name.endswith(".snap")
    assert leader.sh(f"stat -c %a:%U {directory}") == "700:root"
    assert leader.sh(f"stat -c %a {directory}/{name}") == "600"
    local = OPERATORS / "restored.snap"
    local.write_bytes(base64.b64decode(leader.sh(f"base64 -w 0 {directory}/{name}")))

    # As a rebuild has it: the state of the lost host is on the new one, and the newest snapshot counts.
    spare = Node("vault4")
    spare.sh(f"install -d -m 0700 {directory}; echo spoiled > {directory}/vault-20250101T000000Z.snap")
    spare.sh(f"touch -d 2025-01-01 {directory}/vault-20250101T000000Z.snap")
    subprocess.run(["docker", "cp", str(local), f"vault4:{directory}/{name}"], check=True, capture_output=True)
    extra = {
        "vault_recovery_shares": [opened(operator, "share") for operator in ("alice", "bob")],
        "vault_seal_key": opened("alice", "seal_key"),
    }
    began = time.monotonic()
    code, text = play("restore.yml", extra=extra)
    assert code == 0, text
    print(f"restored in {time.monotonic() - began:.0f} s")
    assert all(value not in text for value in (*extra["vault_recovery_shares"], extra["vault_seal_key"]))
    assert readable(spare)
    assert spare.health()[1]["cluster_id"] == first.health()[1]["cluster_id"]
    assert spare.check()[0]
    code, text = play("restore.yml", extra={**extra, "vault_restore_once": True})
    assert code == 0, text
    assert "changed=0" in text
    code, text = play("restore.yml", extra={**extra, "vault_restore_snapshot": str(local)})
    assert code != 0
    assert "serves already" in text
    spare.sh("systemctl disable --now signalbox-vault signalbox-vault-check.timer signalbox-vault-snapshot.timer")


def test_an_interrupted_snapshot_is_no_snapshot(leader) -> None:
    """A file cut short is told from a whole one by its own checksums."""
    directory = "/var/lib/signalbox/vault-snapshots"
    name = leader.sh(f"ls {directory} | tail -n 1")
    program = "/usr/local/libexec/signalbox/vault-care"
    prove = f"import runpy; runpy.run_path('{program}')['prove']"
    leader.sh(f"python3 -c \"{prove}('{directory}/{name}')\"")
    leader.sh(f"head -c 4000 {directory}/{name} >/tmp/short")
    assert "damaged" in leader.run(f"python3 -c \"{prove}('/tmp/short')\"").stderr


def lose(node) -> None:
    """As a host that was made anew: nothing of Vault's is left."""
    node.sh("systemctl stop signalbox-vault")
    node.sh("rm -rf /var/lib/openbao/* /etc/credstore.encrypted/signalbox-vault-s* /var/lib/signalbox/vault")
    node.sh("rm -f /etc/credstore.encrypted/signalbox-vault-[cp]*")


def shares() -> list[str]:
    return [opened(operator, "share") for operator in ("alice", "bob")]


def test_a_host_that_people_unseal_is_made_anew_by_its_operators(play) -> None:
    """Seal shamir: nothing on the host opens it. Its operators do, after a restart and on an empty host."""
    spare, directory = Node("vault4"), "/var/lib/signalbox/vault-snapshots"
    (OPERATORS / "shamir").mkdir()
    lose(spare)
    extra = {"target": "spare", "vault_peers": [], "vault_seal": "shamir"}
    extra["vault_handout_directory"] = str(OPERATORS / "shamir")
    code, text = play("converge.yml", extra=extra)
    assert code == 0, text
    own = [opened(operator, "share", "shamir") for operator in ("alice", "bob")]
    token = spare.login()
    spare.api("POST", "sys/mounts/signalbox", {"type": "kv", "options": {"version": "2"}}, token)
    assert wait_for(lambda: spare.api("POST", DATA, CANARY, token)[0] == 200, 20)
    spare.sh("systemctl restart signalbox-vault")
    assert spare.api("GET", "sys/seal-status")[1]["sealed"]
    code, text = play("operate.yml", extra={**extra, "entry": "unseal", "vault_unseal_shares": own})
    assert code == 0, text
    assert readable(spare)
    spare.sh("systemctl start signalbox-vault-snapshot.service")
    local = OPERATORS / "shamir.snap"
    local.write_bytes(base64.b64decode(spare.sh(f"base64 -w 0 $(ls {directory}/*.snap | tail -n 1)")))

    lose(spare)
    spare.sh(f"rm -r {directory}")
    restore = {**extra, "vault_restore_snapshot": str(local), "vault_recovery_shares": own}
    code, text = play("restore.yml", extra=restore)
    assert code == 0, text
    assert not [share for share in own if share in text]
    assert readable(spare)
    assert spare.check()[0]
    code, text = play("converge.yml", extra=extra)
    assert (code, changes(text)) == (0, {"0"}), text
    spare.sh("systemctl disable --now signalbox-vault signalbox-vault-check.timer signalbox-vault-snapshot.timer")


def test_the_first_node_is_lost_and_joins_again(first, nodes, play) -> None:
    lose(first)
    code, text = play("converge.yml")
    assert code != 0
    assert "Give a quorum of recovery shares" in text, "it joined with the cluster's own seal key"
    assert opened("alice", "seal_key") == first.unsealed("signalbox-vault-seal-key-1")
    code, text = play("converge.yml", extra={"vault_recovery_shares": shares()})
    assert code == 0, text
    assert readable(first)
    assert all(node.check()[0] for node in nodes)
    code, text = play("converge.yml")
    assert (code, changes(text)) == (0, {"0"}), text


def test_a_whole_cluster_comes_back_from_a_snapshot(first, nodes, play) -> None:
    extra = {"target": "nodes", "vault_restore_snapshot": str(OPERATORS / "restored.snap")}
    extra |= {"vault_recovery_shares": shares(), "vault_seal_key": opened("alice", "seal_key")}
    lose(first)
    code, text = play("restore.yml", extra=extra)
    assert code != 0
    assert "vault2 holds data of a cluster" in text
    for node in nodes[1:]:
        lose(node)
    began = time.monotonic()
    code, text = play("restore.yml", extra=extra)
    assert code == 0, text
    print(f"three nodes restored in {time.monotonic() - began:.0f} s")
    assert readable(first)
    assert all(node.check()[0] for node in nodes)
    assert len(first.api("GET", "sys/storage/raft/autopilot/state", token=first.login())[1]["data"]["servers"]) == 3
    code, text = play("converge.yml")
    assert code == 0, text


def started_with(node, *ids) -> bool:
    """Whether it opens when its configuration names these keys of the seal alone, the current one first."""
    keys = zip(("current", "previous"), ids)
    lines = [
        f'{which}_key_id = "{name}"\n{which}_key = "file:///run/credentials/signalbox-vault.service/'
        f'signalbox-vault-seal-key-{name}"\n'
        for which, name in keys
    ]
    text = 'seal "static" {\n' + "".join(lines) + "}\n"
    node.sh(f"printf %s {shlex.quote(text)} >/etc/openbao/30-seal.hcl && systemctl restart --no-block signalbox-vault")
    return wait_for(lambda: node.api("GET", "sys/seal-status")[1].get("sealed") is False, 12)


def test_another_seal_key_takes_the_place_of_the_former(nodes, first, play) -> None:
    """What is stored is encrypted with the new one, the former opens nothing; a run that was killed is mended."""
    code, text = play("converge.yml", extra={"vault_seal_key_id": "2", "vault_pgp_keys": {}})
    assert (code, "nobody could be handed its escrow" in text) == (2, True), text
    code, text = play("converge.yml", extra={"vault_seal_key_id": "2"})
    assert code == 0, text
    assert readable(first)
    key = first.unsealed("signalbox-vault-seal-key-2")
    assert {node.unsealed("signalbox-vault-seal-key-2") for node in nodes} == {key} != {opened("alice", "seal_key")}
    assert opened("bob.seal-key-2", "seal_key") == key
    processes = [node.main_pid() for node in nodes]
    code, text = play("converge.yml", extra={"vault_seal_key_id": "2"})
    assert (code, changes(text)) == (0, {"0"}), text
    assert [node.main_pid() for node in nodes] == processes
    follower = next(node for node in nodes if not node.leads())
    assert started_with(follower, "2"), "what is stored was not encrypted with the new key"
    assert not started_with(follower, "1"), "the former key still opens what is stored"
    # A run that ended before its restarts: the next key waits, and the run is repeated.
    code, text = play("converge.yml", extra={"vault_seal_key_id": "2"})
    assert code == 0, text
    code, text = play("converge.yml", "--tags", "vault_configure", extra={"vault_seal_key_id": "3"})
    assert code == 0, text
    code, text = play("converge.yml", extra={"vault_seal_key_id": "4"})
    assert (code, "does not run with '3' yet" in text) == (2, True), text
    code, text = play("converge.yml", extra={"vault_seal_key_id": "3"})
    assert code == 0, text
    follower = next(node for node in nodes if not node.leads())
    assert started_with(follower, "3")
    assert readable(first)
    code, text = play("converge.yml", extra={"vault_seal_key_id": "3"})
    assert code == 0, text
    assert all(node.check()[0] for node in nodes)
