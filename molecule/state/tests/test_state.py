"""A host's state on another host: sent, kept against the will of who sent it, read every day, and put back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).resolve().parents[1]
PROGRAM = "/usr/local/lib/signalbox/state"
RELEASES = "/var/lib/signalbox/releases"
KEPT = "/var/lib/signalbox/kept-state/state-edge"
REDIS = (
    "REDISCLI_AUTH=$(cat /run/signalbox-redis/administrator) redis-cli --no-auth-warning -e"
    " -s /run/redis/redis-server.sock --user signalbox-administrator"
)


@pytest.fixture(scope="module")
def edge():
    return testinfra.get_host("docker://state-edge")


@pytest.fixture(scope="module")
def store():
    return testinfra.get_host("docker://state-store")


def program(host, operation):
    done = host.run(f"python3 {PROGRAM} {operation}")
    return done.rc, json.loads(done.stdout) if done.stdout.startswith("{") else {}, done.stderr


def must(host, operation):
    code, answer, said = program(host, operation)
    assert code == 0, said
    return answer


def restic(host, arguments, of="state-edge"):
    """With all that root of the client has."""
    address = json.loads(host.file("/etc/signalbox/state.json").content_string)["client"]["repository"]
    address = address.replace("/state-edge/", f"/{of}/")
    password = "systemd-creds decrypt --quiet --name=signalbox-state /etc/credstore.encrypted/signalbox-state -"
    return host.run(
        f"export RESTIC_PASSWORD=$({password}) RESTIC_REST_USERNAME=state-edge; RESTIC_REST_PASSWORD=$RESTIC_PASSWORD"
        f" timeout 60 restic --no-cache --cacert=/etc/signalbox/tls/ca.crt --repo={address} {arguments}"
    )


def own(edge):
    """As the host tags its own: what is sent by itself in between must not take this for another machine's."""
    return f"--tag=machine:{edge.file('/var/lib/signalbox/state/machine').content_string.strip()}"


def play(name, *extra):
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        *("-i", os.environ["MOLECULE_INVENTORY_FILE"], str(SCENARIO / name), *extra),
    ]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


def newest(store):
    return store.run(f"ls -t {KEPT}/snapshots | head -1").stdout.strip()


def until(true, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.3)


@pytest.fixture(scope="module", autouse=True)
def release(edge):
    edge.check_output(f"install -d -m 0700 {RELEASES} {RELEASES}/shop")
    edge.check_output(f"echo one > {RELEASES}/shop/ledger.jsonl; chmod 0600 {RELEASES}/shop/ledger.jsonl")
    edge.check_output(f"{REDIS} set colour green")


def test_what_is_there_is_sent_and_the_rest_passed_over(edge, store):
    taken = must(edge, "backup")
    assert taken["items"] == ["releases", "Redis"]
    told = must(store, "status")
    assert told["problems"] == ["no state of other has arrived yet"]
    assert any("state of state-edge" in line for line in told["lines"])


def test_a_change_of_what_is_watched_is_sent_at_once(edge, store):
    until(lambda: not edge.run("systemctl is-active signalbox-state.service").stdout.startswith("activating"))
    before = newest(store)
    edge.check_output(f"echo two > {RELEASES}/shop/new; mv {RELEASES}/shop/new {RELEASES}/shop/state.json")
    until(lambda: newest(store) != before)
    assert "state.json" in restic(edge, "ls latest").stdout


def test_a_client_can_neither_remove_nor_change_nor_see_anothers(edge, store):
    before = store.run(f"ls {KEPT}/snapshots").stdout
    for arguments in ("forget latest", "forget --keep-last=1 --prune", "prune --max-unused=0"):
        restic(edge, arguments)
    assert store.run(f"ls {KEPT}/snapshots").stdout == before
    must(edge, "backup")
    everything = f"find {Path(KEPT).parent} ! -path '{KEPT}/*' | sort"
    before = store.check_output(everything)
    for of in ("other", "other/../state-store", "new", ""):
        for arguments in ("init", "cat config", f"backup {RELEASES}"):
            refused = restic(edge, arguments, of)
            assert refused.rc != 0, (of, arguments)
    assert store.check_output(everything) == before
    listening = store.check_output("ss -ltnH 'sport = :8433'")
    assert len(listening.splitlines()) == 1
    assert listening.split()[3].rsplit(":", 1)[0] not in ("0.0.0.0", "*", "[::]")


def test_nobody_else_reads_it_or_its_passwords(edge, store):
    for host, path in (
        (edge, "/etc/credstore.encrypted/signalbox-state"),
        (store, "/etc/credstore.encrypted/signalbox-state-passwords"),
        (store, KEPT),
    ):
        assert host.run(f"runuser -u nobody -- ls {path}/").rc != 0
        assert host.run(f"runuser -u nobody -- cat {path}").rc != 0
    assert "one" not in store.run(f"grep -rl green {KEPT}").stdout


def test_redis_files_belong_together_while_its_log_is_written_anew(edge):
    """The log is rewritten without a pause while states are taken; each has all files that its manifest names."""
    edge.check_output(
        f"(for n in $(seq 400); do {REDIS} bgrewriteaof; {REDIS} set k$n $n; sleep 0.02; done) >/dev/null 2>&1 &"
    )
    for _ in range(4):
        must(edge, "backup")
        where = "/var/lib/redis/.signalbox-state/appendonlydir"
        listed = restic(edge, f"ls latest {where}").stdout
        manifest = restic(edge, f"dump latest {where}/appendonly.aof.manifest").stdout
        named = [line.split()[1] for line in manifest.splitlines() if " type i" in line or " type b" in line]
        assert named
        assert all(name in listed for name in named), (manifest, listed)


def test_old_states_go_by_age_and_every_byte_is_read(edge, store):
    must(edge, "backup")
    restic(edge, f"backup --host=state-edge {own(edge)} --time='2026-01-01 00:00:00' {RELEASES}")
    store.check_output(f"touch -d '2026-01-01 00:00:00 UTC' {KEPT}/snapshots/{newest(store)}")
    count = len(store.run(f"ls {KEPT}/snapshots").stdout.split())
    store.check_output("systemctl start signalbox-state-care.service")
    assert len(store.run(f"ls {KEPT}/snapshots").stdout.split()) == count - 1
    assert store.run(f"find {KEPT} ! -user restic-rest-server").stdout == ""
    must(edge, "backup")
    told = must(store, "drill")
    assert any("state of state-edge" in line for line in told["lines"])
    assert not store.file("/var/lib/signalbox/scratch/state/state-edge").exists


def test_a_flipped_byte_is_found(edge, store):
    must(edge, "backup")
    pack = store.run(f"find {KEPT}/data -type f -size +0 | sort | head -1").stdout.strip()
    store.check_output(f"cp -a {pack} /root/pack; printf X | dd of={pack} bs=1 seek=40 conv=notrunc status=none")
    failed = store.run("systemctl start signalbox-state-care.service")
    assert failed.rc != 0
    assert "state-edge: restic check" in store.run("journalctl -u signalbox-state-care.service -o cat").stdout
    store.check_output(f"cp -a /root/pack {pack}")
    assert store.run("systemctl start signalbox-state-care.service").rc == 0


@pytest.mark.parametrize("when", ["2037-01-01 00:00:00", "2026-01-01 23:59:59"])
def test_a_snapshot_that_lies_about_its_time_pushes_out_nothing(edge, store, when):
    restic(edge, f"backup --host=state-edge {own(edge)} --time='{when}' {RELEASES}")
    liar = newest(store)
    before = store.run(f"ls {KEPT}/snapshots").stdout.split()
    assert store.run("systemctl start signalbox-state-care.service").rc != 0
    assert "says that it is of" in store.run("journalctl -u signalbox-state-care.service -o cat -n 5").stdout
    assert store.run(f"ls {KEPT}/snapshots").stdout.split() == before
    assert any("says that it is of" in problem for problem in must(store, "status")["problems"])
    password = "systemd-creds decrypt --quiet --name=signalbox-state-passwords"
    store.check_output(
        f"export RESTIC_PASSWORD=$({password} /etc/credstore.encrypted/signalbox-state-passwords - | python3 -c"
        " 'import json,sys; print(json.load(sys.stdin)[\"state-edge\"])');"
        f" cd / && runuser -u restic-rest-server -w RESTIC_PASSWORD -- restic --no-cache --repo={KEPT} forget {liar}"
    )
    assert store.run("systemctl start signalbox-state-care.service").rc == 0


def test_the_server_restarted_or_away_loses_nothing(edge, store):
    store.check_output("systemctl restart restic-rest-server.service")
    must(edge, "backup")
    store.check_output("systemctl stop restic-rest-server.service")
    code, _, said = program(edge, "backup")
    assert code != 0
    assert "does not answer" in said
    store.check_output("systemctl start restic-rest-server.service")
    until(lambda: program(edge, "backup")[0] == 0)


def test_a_killed_run_is_gone_over_by_the_next(edge):
    for hits in (1, 3, 5):
        again = "until pkill -9 -x restic; do sleep 0.01; done; sleep 0.3;"
        runs = f"for run in $(seq {hits + 1}); do python3 {PROGRAM} backup; done"
        edge.check_output(f"({runs}) >/dev/null 2>&1 & {again * hits} wait")
    must(edge, "backup")


def test_on_the_machine_itself_nothing_is_put_back(edge):
    code, _, said = program(edge, "restore")
    assert code != 0
    assert "no state of an earlier state-edge" in said


def test_a_new_machine_gets_it_back_once(edge, store):
    """No files and no id, as on a host that was made anew."""
    must(edge, "backup")
    edge.check_output("systemctl stop signalbox-state.timer signalbox-state.path")
    until(lambda: edge.run("systemctl is-active signalbox-state.service").stdout.strip() == "inactive")
    # What the old machine sent when a directory was gone already is newer, and not what is wanted back.
    edge.check_output(f"mv {RELEASES} /root/; python3 {PROGRAM} backup; mv /root/releases {RELEASES}")
    edge.check_output("systemctl stop redis-server && rm -rf /var/lib/redis/* && systemctl start redis-server")
    edge.check_output(f"rm -rf {RELEASES} /etc/credstore.encrypted/signalbox-state")
    edge.check_output("rm -rf /var/lib/signalbox/state")
    until(lambda: edge.run(f"{REDIS} dbsize").stdout.strip() == "0")
    # Its own first state, which is empty, must not be taken for the lost one.
    code, said = play("converge.yml")
    assert code == 0, said[-3000:]
    edge.check_output(f"install -d {RELEASES}; echo new > {RELEASES}/new")
    assert must(edge, "backup")["unrestored"] == 1
    assert store.run("systemctl start signalbox-state-care.service").rc != 0
    assert any("was not put back" in problem for problem in must(store, "status")["problems"])
    # A disk of its own, which cannot be renamed.
    edge.check_output(f"rm -rf {RELEASES} /etc/signalbox/tls/ca.crt; mkdir {RELEASES}; mount -t tmpfs disk {RELEASES}")
    code, said = play("restore.yml")
    assert code == 0, said[-3000:]
    assert edge.file(f"{RELEASES}/shop/ledger.jsonl").content_string == "one\n"
    assert edge.file(f"{RELEASES}/shop/ledger.jsonl").mode == 0o600
    assert edge.file(RELEASES).mode == 0o700
    assert edge.run(f"{REDIS} get colour").stdout.strip() == "green"
    assert edge.file("/var/lib/redis/appendonlydir").user == "redis"
    assert edge.run("systemctl is-active redis-server").stdout.strip() == "active"
    assert must(edge, "backup")["unrestored"] == 0
    store.check_output("systemctl start signalbox-state-care.service")
    edge.check_output(f"echo more >> {RELEASES}/shop/ledger.jsonl")
    code, said = play("restore.yml")
    assert code == 0, said[-3000:]
    assert "changed=0" in said
    assert edge.file(f"{RELEASES}/shop/ledger.jsonl").content_string == "one\nmore\n"


def test_a_moment_that_cannot_be_is_refused(edge):
    for moment, words in (
        ("yesterday", "is no moment"),
        ("2026-11-23T14:05:00", "has no time zone"),
        ("2026-01-01T00:00:00+00:00", "is back already"),
    ):
        code, _, said = program(edge, f"restore {moment}")
        assert code != 0
        assert words in said


def test_a_backup_host_that_was_made_anew_is_told(edge, store):
    """Its repositories and passwords are gone; the next site.yml brings new ones."""
    before = store.run(f"ls {KEPT}/snapshots").stdout.split()
    store.check_output("mv /etc/credstore.encrypted/signalbox-state-passwords /root/")
    code, said = play("converge.yml")
    assert code != 0
    assert "keeps state of state-edge, other, and" in " ".join(said.split())
    store.check_output("mv /root/signalbox-state-passwords /etc/credstore.encrypted/")
    store.check_output("rm -rf /var/lib/signalbox/kept-state/* /etc/credstore.encrypted/signalbox-state-passwords")
    # What is left where the making of a repository was killed.
    store.check_output(f"install -d -o restic-rest-server -m 0700 {KEPT} {KEPT}/keys; echo half > {KEPT}/keys/0")
    code, said = play("converge.yml")
    assert code == 0, said[-3000:]
    must(edge, "backup")
    assert newest(store)
    assert newest(store) not in before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("restic_serves=[]", "say server or client"),
        ("restic_keep_days=1", "at least 2"),
        ("restic_host=a/b", "letters, digits"),
    ],
)
def test_a_mistake_is_told_before_anything_changes(given, words):
    name, _, value = given.partition("=")
    extra = json.dumps({name: json.loads(value) if value[0] in "[0123456789" else value})
    code, said = play("converge.yml", "-e", extra, "--check", "--limit", "edge,store")
    assert code != 0
    assert words in " ".join(said.split())
