"""Two hosts with real clusters: what a backup promises, and each silent way in which one goes wrong."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).resolve().parents[1]
PROGRAM = "/usr/local/lib/signalbox/backup"
REPOSITORY = "/var/lib/pgbackrest"
PASSPHRASE = "a passphrase of the tests alone"


@pytest.fixture(scope="session")
def data():
    return testinfra.get_host("docker://backup-data")


@pytest.fixture(scope="session")
def store():
    return testinfra.get_host("docker://backup-store")


def as_postgres(host, command):
    return host.run(f"cd / && runuser -u postgres -- sh -c {shlex.quote(command)}")


def sql(host, statement, database="shop"):
    done = as_postgres(host, f"psql -XAtqw -v ON_ERROR_STOP=1 -d {database} -c {shlex.quote(statement)}")
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def program(host, arguments):
    done = as_postgres(host, f"python3 {PROGRAM} {arguments}")
    answer = json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}
    return done.rc, answer, done.stderr


def archived(data):
    """Everything committed until now is in the repository."""
    segment = sql(data, "select pg_walfile_name(pg_switch_wal())")
    deadline = time.monotonic() + 30
    while sql(data, f"select last_archived_wal >= '{segment}' from pg_stat_archiver") != "t":
        assert time.monotonic() < deadline, sql(data, "select * from pg_stat_archiver")
        time.sleep(0.2)


def moment(data):
    return datetime.fromisoformat(sql(data, "select clock_timestamp()")).astimezone(timezone.utc)


# A restore to a target and one question, with the program's own parts and without its checks.
ASK = f"""
import json, sys, time
sys.path.insert(0, {PROGRAM!r})
from pathlib import Path
import targets
from repository import Repository
from scratch import Scratch
wanted, database, query = json.loads(sys.argv[1])
repository = Repository("main", "/etc/pgbackrest/scratch.conf")
plan = targets.plan(repository.look(), targets.target(wanted), time.time())
with Scratch(Path("/var/lib/signalbox/scratch"), Path("/usr/lib/postgresql/17/bin")) as scratch:
    scratch.restore(repository, plan, 2, 300)
    scratch.start(120)
    print(json.dumps([plan.backup.label, plan.timeline, scratch.ask(database, query)]))
"""


def restored(store, wanted, query, database="shop"):
    """Label, timeline and answer."""
    request = json.dumps([wanted, database, query])
    done = as_postgres(store, f"python3 -c {shlex.quote(ASK)} {shlex.quote(request)}")
    assert done.rc == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def play(extra=(), **environment):
    """A fresh run of the converge playbook."""
    command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], str(SCENARIO / "converge.yml"), *extra]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def rows(data):
    sql(data, "create table orders (id int primary key, note text not null, parent int references orders)")
    sql(data, "insert into orders select n, md5(n::text), nullif(n / 2, 0) from generate_series(1, 20000) n")
    archived(data)


# ---- what is there -------------------------------------------------------------------------------------------------


def test_nothing_listens_but_to_each_other_and_others_are_refused(data, store):
    for host in (data, store):
        listening = host.check_output("ss -ltnH 'sport = :8432'")
        assert len(listening.splitlines()) == 1
        assert "0.0.0.0" not in listening.split()[3]
        assert "*" not in listening.split()[3]
    assert as_postgres(data, "pgbackrest --stanza=main info").rc == 0
    other = as_postgres(data, "pgbackrest --stanza=other --log-level-console=error --output=json info")
    assert "access denied" in other.stdout + other.stderr
    # A certificate of another authority, and none at all.
    data.check_output(
        "cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=backup-data"
        " -keyout other.key -out other.crt 2>/dev/null && chown postgres: other.key other.crt"
    )
    other = as_postgres(
        data,
        "timeout 30 pgbackrest --stanza=main --log-level-console=error --repo1-host-cert-file=/tmp/other.crt"
        " --repo1-host-key-file=/tmp/other.key --output=json info",
    )
    assert '"code":0' not in other.stdout, "a certificate of another authority"
    bare = as_postgres(
        data, "pgbackrest --stanza=main --repo1-host-cert-file=/dev/null --repo1-host-key-file=/dev/null info 2>&1"
    )
    assert "error" in bare.stdout.lower()


def test_the_passphrase_is_in_the_stores_memory_alone(data, store):
    held = store.file("/run/signalbox-backup/cipher.conf")
    assert (held.user, held.mode) == ("postgres", 0o600)
    assert PASSPHRASE in held.content_string
    for host, places in ((store, "/etc /var /root /tmp /opt"), (data, "/etc /var /root /tmp /opt /run")):
        found = host.run(f"grep -rlaF {shlex.quote(PASSPHRASE)} {places} 2>/dev/null")
        assert found.stdout == "", found.stdout
        assert PASSPHRASE not in host.check_output("ps axeww; journalctl --no-pager")
    nobody = store.run("runuser -u nobody -- cat /run/signalbox-backup/cipher.conf /run/signalbox-backup/host.key")
    assert nobody.rc != 0
    assert nobody.stdout == ""


def test_the_repository_is_encrypted(store):
    files = store.check_output(f"find {REPOSITORY} -type f -name 'backup.info' -o -type f -name '*.zst'").split()
    assert files
    assert all(store.check_output(f"head -c 8 {path}") == "Salted__" for path in files[:5])


def test_each_host_has_what_it_needs_and_no_more(data, store):
    own = {
        data: ["/etc/postgresql/17/main/conf.d/20-backup.conf", "/etc/systemd/system/signalbox-heartbeat.service"],
        store: [
            "/etc/pgbackrest/scratch.conf",
            "/etc/systemd/system/signalbox-backup.timer",
            "/usr/local/libexec/signalbox/backup-metrics",
        ],
    }
    for host, other in ((data, store), (store, data)):
        assert all(host.file(path).exists for path in own[host])
        assert not any(host.file(path).exists for path in own[other])


def test_units_are_sandboxed_and_none_has_failed(data, store):
    for host in (data, store):
        assert host.check_output("systemctl --failed --no-legend --plain") == ""
    for unit in ("pgbackrest", "signalbox-backup", "signalbox-backup-verify", "signalbox-backup-drill"):
        shown = store.check_output(f"systemctl show {unit} -p NoNewPrivileges -p ProtectSystem -p User")
        assert "NoNewPrivileges=yes" in shown
        assert "ProtectSystem=strict" in shown
        assert "User=postgres" in shown
    timers = store.check_output("systemctl list-timers --no-legend --plain 'signalbox-backup*'")
    assert len(timers.splitlines()) == 3
    # Nothing may drop WAL to make room, and nothing may fetch ahead over a timeline switch.
    configuration = data.file("/etc/pgbackrest/pgbackrest.conf").content_string
    assert "archive-push-queue-max" not in configuration
    assert "[global:archive-get]\narchive-async=n" in configuration
    assert "lock-path=/run/pgbackrest" in configuration


def test_a_renewed_certificate_is_taken_without_a_restart(store):
    def looked():
        started = store.check_output("systemctl show pgbackrest -p MainPID --value")
        return started, store.check_output("stat -c %i /run/signalbox-backup/host.crt")

    process, inode = looked()
    tls = "/etc/signalbox/tls/backup.crt"
    store.check_output(f"cp -p {tls} {tls}.new && mv {tls}.new {tls}")
    deadline = time.monotonic() + 30
    while looked()[1] == inode:
        assert time.monotonic() < deadline, "the copy in memory stays the old one"
        time.sleep(0.5)
    assert looked()[0] == process


# ---- backups and drills --------------------------------------------------------------------------------------------


def test_the_timers_unit_takes_what_is_due_and_measures_it(store):
    assert store.run("systemctl start signalbox-backup.service").rc == 0
    code, status, said = program(store, "status")
    assert code == 0, said
    assert [backup["kind"] for backup in status["backups"]] == ["full", "incr"]
    lines = store.file("/var/lib/prometheus/node-exporter/signalbox_backup.prom").content_string
    assert f"signalbox_backup_database_bytes {status['backup']['database_bytes']}" in lines


def test_a_drill_by_its_unit_restores_a_random_moment_and_leaves_nothing(store):
    time.sleep(17)  # a moment that is surely archived: twice the archive timeout
    assert store.run("systemctl start signalbox-backup-drill.service").rc == 0, store.check_output(
        "journalctl -u signalbox-backup-drill -n 30 --no-pager"
    )
    report = json.loads(store.check_output("cat /var/lib/signalbox/backup/backup_drill.json"))
    assert report["success"] == 1
    assert report["findings"] == []
    assert report["target"].startswith("time ")
    assert {"postgres", "shop"} <= set(report["databases"])
    assert 0 <= report["rpo_seconds"] < 4
    assert "signalbox_backup_drill_success 1" in store.check_output(
        "cat /var/lib/prometheus/node-exporter/signalbox_backup_drill.prom"
    )
    assert store.check_output("ls -A /var/lib/signalbox/scratch") == ""
    assert "/var/lib/signalbox/scratch" not in store.check_output("ps axww")


def test_a_drill_to_latest_tells_what_a_lost_host_would_cost(store):
    code, report, said = program(store, "drill --kind latest")
    assert code == 0, said
    assert 0 <= report["rpo_seconds"] < 2 * 5 + 5 + 3 + 1, "archive timeout, and room for a busy machine"


def test_a_killed_drill_leaves_a_server_that_the_next_one_removes(store):
    store.run(f"cd / && (setsid runuser -u postgres -- python3 {PROGRAM} drill --kind latest >/dev/null 2>&1 &)")
    deadline = time.monotonic() + 60
    while "postmaster.pid" not in store.run("ls /var/lib/signalbox/scratch/data").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    store.check_output("pkill -KILL -f 'signalbox/[b]ackup drill'")
    assert "data" in store.check_output("ls -A /var/lib/signalbox/scratch")
    code, _report, said = program(store, "drill --kind latest")
    assert code == 0, said
    assert store.check_output("ls -A /var/lib/signalbox/scratch") == ""
    assert store.run("pgrep -f '[d]ata_directory=/var/lib/signalbox/scratch'").rc != 0


def test_a_scratch_server_archives_nothing(data, store):
    before = sorted(json.loads(as_postgres(store, "pgbackrest repo-ls --output=json archive/main/17-1").stdout))
    assert program(store, "drill --kind latest")[0] == 0
    assert sorted(json.loads(as_postgres(store, "pgbackrest repo-ls --output=json archive/main/17-1").stdout)) == before


# ---- moments -------------------------------------------------------------------------------------------------------


def test_a_dropped_table_comes_back_as_it_was_the_second_before(data, store):
    sql(data, "create table sold as select * from orders")
    rows = sql(data, "select count(*), md5(string_agg(id::text || note, ',' order by id)) from sold")
    time.sleep(1)
    before = moment(data)
    time.sleep(0.2)
    sql(data, "drop table sold")
    archived(data)
    _label, _line, found = restored(
        store,
        {"kind": "time", "value": before.isoformat()},
        "select count(*), md5(string_agg(id::text || note, ',' order by id)) from sold",
    )
    assert found == rows


def test_a_bad_update_is_undone_by_its_transaction(data, store):
    sql(data, "create table prices as select n as id, 100 as price from generate_series(1, 100) n")
    before = moment(data)
    bad = sql(data, "begin; update prices set price = 0; select pg_current_xact_id(); commit")
    archived(data)
    wanted = {"kind": "xid", "value": bad, "exclusive": True, "before": before.isoformat()}
    assert restored(store, wanted, "select sum(price) from prices")[2] == "10000"
    assert restored(store, {"kind": "latest"}, "select sum(price) from prices")[2] == "0"


def test_a_named_restore_point(data, store):
    sql(data, "create table migrated (v int); insert into migrated values (1)")
    before = moment(data)
    sql(data, "select pg_create_restore_point('release-7')", "postgres")
    sql(data, "insert into migrated values (2)")
    archived(data)
    wanted = {"kind": "name", "value": "release-7", "before": before.isoformat()}
    assert restored(store, wanted, "select count(*) from migrated")[2] == "1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--kind time --value 2020-01-01T00:00:00+00:00", "the oldest backup"),
        ("--kind time --value 2099-01-01T00:00:00+00:00", "is in the future"),
        ("--kind name --value never-made", "the restored server does not start"),
    ],
)
def test_a_moment_that_cannot_be_reached_is_told(store, arguments, words):
    code, report, said = program(store, f"drill {arguments}")
    assert code != 0
    assert words in said + str(report.get("findings")), said
    assert store.check_output("ls -A /var/lib/signalbox/scratch") == ""


def restore_in_place(data, at):
    """What an operator does by hand: the cluster goes back to a moment and on along a new timeline."""
    data.check_output("systemctl stop postgresql@17-main")
    target = f"--type=time --target='{at:%Y-%m-%d %H:%M:%S.%f}+00' --target-action=promote"
    done = as_postgres(data, f"pgbackrest --stanza=main --delta {target} restore")
    assert done.rc == 0, done.stdout + done.stderr
    data.check_output("timeout 120 systemctl start postgresql@17-main")
    deadline = time.monotonic() + 60
    while sql(data, "select pg_is_in_recovery()", "postgres") != "f":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_moment_that_only_a_left_timeline_has_lived_through(data, store):
    sql(data, "create table lived (v text)")
    back_to = moment(data)
    time.sleep(0.5)
    sql(data, "insert into lived values ('on timeline 1')")
    time.sleep(0.5)
    only_then = moment(data)
    time.sleep(0.5)
    archived(data)
    program(store, "backup --type incr")  # of a branch that is left in a moment
    restore_in_place(data, back_to)
    sql(data, "insert into lived values ('on timeline 2')")
    archived(data)
    _label, line, found = restored(
        store, {"kind": "time", "value": only_then.isoformat()}, "select string_agg(v, ',') from lived"
    )
    assert (line, found) == (1, "on timeline 1")
    label, line, found = restored(store, {"kind": "latest"}, "select string_agg(v, ',') from lived")
    assert (line, found) == (2, "on timeline 2")
    status = program(store, "status")[1]
    assert label != status["backups"][-1]["label"], "the newest backup lies beyond the fork"
    assert program(store, "backup --type incr")[0] == 0


# ---- damage --------------------------------------------------------------------------------------------------------


def test_a_missing_segment_fails_verification_and_drill(data, store):
    sql(data, "select pg_switch_wal()")
    sql(data, "create table later (v int)")
    archived(data)
    wal = store.check_output(
        f"find {REPOSITORY}/archive/main/17-1/0000000200000000 -name '0*.zst' | sort | tail -2 | head -1"
    )
    store.check_output(f"mv {wal} /root/hidden")
    try:
        code, _answer, said = program(store, "verify")
        assert code == 14, said
        assert "WAL archive" in said
        time.sleep(22)  # until what is missing is more than the archive timeout explains
        code, report, _said = program(store, "drill --kind latest")
        assert code == 14
        assert report["findings"], report
        assert "signalbox_backup_verify_success 0" in store.check_output(
            "cat /var/lib/signalbox/backup/backup_verify.prom"
        )
        # What is told to do mends it, and what is lost all the same stays told.
        assert program(store, "backup --type full")[0] == 0
        code, _answer, said = program(store, "verify")
        assert code == 0, said
        assert "from before the newest full backup" in said
    finally:
        store.check_output(f"mv /root/hidden {wal}")
    code, _answer, said = program(store, "verify")
    assert code == 0, said
    code, report, said = program(store, "drill --kind latest")
    assert code == 0, (report, said)


def test_a_flipped_byte_fails_verification_and_drill(store):
    full = store.check_output(f"ls -d {REPOSITORY}/backup/main/*F | tail -1")
    path = store.check_output(f"find {full} -type f -path '*bundle*' -size +100k | head -1")
    store.check_output(f"cp -p {path} /root/sound && printf X | dd of={path} bs=1 seek=70000 conv=notrunc 2>/dev/null")
    try:
        code, _answer, said = program(store, "verify")
        assert code == 14, said
        code, report, said = program(store, "drill --kind latest")
        assert code != 0, report
        assert "checksum" in str(report) + said or "restore" in str(report) + said
    finally:
        store.check_output(f"cp -p /root/sound {path}")
    assert program(store, "verify")[0] == 0


def test_a_store_that_is_away_stops_nothing_and_is_told(data, store):
    store.check_output("systemctl stop pgbackrest")
    try:
        sql(
            data,
            "insert into orders select n, md5(n::text) from generate_series(20001, 20500) n; select pg_switch_wal()",
        )
        assert sql(data, "select count(*) from orders") == "20500"
        deadline = time.monotonic() + 90
        while sql(data, "select failed_count > 0 from pg_stat_archiver") != "t":
            assert time.monotonic() < deadline
            time.sleep(1)
    finally:
        store.check_output("systemctl start pgbackrest")
    deadline = time.monotonic() + 120
    while sql(data, "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'") != "0":
        assert time.monotonic() < deadline
        time.sleep(1)
    assert restored(store, {"kind": "latest"}, "select count(*) from orders")[2] == "20500"


def test_an_idle_server_goes_on_archiving_after_a_crash(data):
    """Nobody asks for a new segment: the archive timeout alone brings it, which PostgreSQL by itself forgets here."""
    data.check_output("kill -9 $(head -1 /var/lib/postgresql/17/main/postmaster.pid)")
    deadline = time.monotonic() + 60
    while as_postgres(data, "psql -XAtqc 'select 1' postgres").rc != 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    deadline = time.monotonic() + 60
    while sql(data, "select archived_count > 1 from pg_stat_archiver") != "t":
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_store_without_room_refuses_the_backup_and_goes_on_archiving(data, store):
    settings = "/etc/signalbox/backup.json"
    run = "/var/lib/signalbox/backup/backup_run.prom"
    kept = store.file(settings).content_string
    store.check_output(f'sed -i \'s/"disk_minimum_bytes": [0-9]*/"disk_minimum_bytes": 99999999999999/\' {settings}')
    try:
        code, _answer, said = program(store, "backup")
        assert code == 13
        assert "MiB free" in said
        assert "signalbox_backup_run_success 0" in store.file(run).content_string
        archived(data)
    finally:
        store.run(f"cat > {settings} <<'END'\n{kept}\nEND")
    assert program(store, "backup")[0] == 0
    assert "signalbox_backup_run_success 1" in store.file(run).content_string


def test_two_backups_at_once_are_one(store):
    held = "runuser -u postgres -- flock /run/pgbackrest/signalbox-backup.lock sleep 5"
    store.run(f"cd / && (setsid {held} >/dev/null 2>&1 &) ; sleep 1")
    code, _answer, said = program(store, "backup")
    assert code == 10, said
    assert "another backup is under way" in said


# ---- inputs --------------------------------------------------------------------------------------------------------


def test_another_passphrase_is_refused_before_anything_is_touched(store):
    before = store.check_output("cat /etc/pgbackrest/pgbackrest.conf; ls -l /etc/credstore.encrypted")
    code, said = play(BACKUP_TEST_PASSPHRASE="quite another passphrase than before")
    assert code != 0
    assert "keeps another value and is not replaced. A repository keeps its passphrase for life" in " ".join(
        said.split()
    )
    assert store.check_output("cat /etc/pgbackrest/pgbackrest.conf; ls -l /etc/credstore.encrypted") == before
    assert "quite another" not in said


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("pgbackrest_archive_timeout_seconds=1", "5 to 3600"),
        ("pgbackrest_retention_days=7", "keep at least one more than that"),
        ("pgbackrest_listen_address=", "are needed where repository and database are two hosts"),
        ("pgbackrest_repository_host=", "names the host that keeps the repository"),
        ("pgbackrest_database_host=", "names the database host"),
        ("pgbackrest_cipher_passphrase=short", "with 20 characters or more"),
    ],
)
def test_a_mistake_is_told_before_anything_is_touched(variable, words):
    code, said = play(["--tags", "pgbackrest_preflight", "-e", variable])
    assert code != 0
    assert words in " ".join(said.split())


def test_after_a_reboot_everything_is_there_again(store):
    subprocess.run(["docker", "restart", "-t", "60", "backup-store"], check=True, capture_output=True)
    deadline = time.monotonic() + 90
    while store.run("systemctl is-active pgbackrest").stdout.strip() != "active":
        assert time.monotonic() < deadline, store.run(
            "systemctl --failed; journalctl -b -u signalbox-backup-keys --no-pager"
        ).stdout
        time.sleep(1)
    deadline = time.monotonic() + 30
    while program(store, "status")[0] != 0:
        assert time.monotonic() < deadline, program(store, "status")
        time.sleep(1)
    assert store.run("systemctl start signalbox-backup.service").rc == 0


# ---- in place ------------------------------------------------------------------------------------------------------


def in_place(data, command="restore", **wanted):
    request = shlex.quote(json.dumps(wanted))
    done = data.run(f"printf %s {request} | python3 {PROGRAM} {command}")
    return done.rc, json.loads(done.stdout) if done.rc == 0 else {}, done.stderr


def kept(data):
    return data.check_output("ls -d /var/lib/postgresql/17/main.before-* 2>/dev/null || true").split()


def test_a_cluster_goes_back_in_place_and_keeps_passwords_and_the_old_one(data, store):
    program(store, "backup --type incr")
    sql(data, "create table ledger as select n from generate_series(1, 500) n")
    before = sql(data, "select rolpassword from pg_authid where rolname = 'shop_blue'")
    at = moment(data)
    time.sleep(1)
    sql(data, "drop table ledger; alter role shop_blue password 'a password that came later'")
    after = sql(data, "select rolpassword from pg_authid where rolname = 'shop_blue'")
    assert before != after
    code, report, said = in_place(data, kind="time", value=at.isoformat())
    assert code == 0, said
    assert sql(data, "select count(*) from ledger") == "500"
    assert sql(data, "select rolpassword from pg_authid where rolname = 'shop_blue'") == after
    assert 0 <= report["rpo_seconds"] < 4
    assert kept(data) == [report["kept"]]
    assert after not in data.check_output("journalctl --no-pager -t postgresql")
    assert "SCRAM" not in sql(data, "select coalesce(string_agg(query, ''), '') from pg_stat_statements")
    assert program(store, "backup --type incr")[0] == 0
    # Once more, to a moment before: from a second timeline's life to the first one's.
    code, _report, said = in_place(data, kind="time", value=at.isoformat())
    assert code == 0, said
    assert in_place(data, "forget")[1]["removed"] != []
    assert kept(data) == []


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"kind": "name", "value": "never-made"}, "the restored server does not start"),
        ({"kind": "time", "value": "2099-01-01T00:00:00+00:00"}, "is in the future"),
        ({"kind": "time", "value": "2001-01-01T00:00:00+00:00"}, "the oldest backup"),
    ],
)
def test_a_restore_that_cannot_be_leaves_the_cluster_as_it_was(data, wanted, words):
    rows = sql(data, "select count(*) from orders")
    code, _report, said = in_place(data, **wanted)
    assert code != 0
    assert words in said, said
    assert sql(data, "select count(*) from orders") == rows
    assert kept(data) == []
    assert data.run("test -e /var/lib/signalbox/backup-restore.json").rc != 0


def test_a_killed_restore_is_undone_by_the_next_command(data):
    rows = sql(data, "select count(*) from orders")
    data.run(f'(printf \'{{"kind": "latest"}}\' | setsid python3 {PROGRAM} restore >/dev/null 2>&1 &)')
    deadline = time.monotonic() + 60
    while not kept(data):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    data.check_output("pkill -KILL -f 'signalbox/[b]ackup restore'; pkill -KILL -x pgbackrest || true")
    code, _report, said = in_place(data, "undo")
    assert code == 0, said
    assert "is back" in said
    assert kept(data) == []
    assert sql(data, "select count(*) from orders") == rows
    assert data.check_output("systemctl is-active postgresql@17-main signalbox-heartbeat") == "active\nactive"


def test_a_restore_point_is_found_by_its_name_alone(data, store):
    program(store, "backup --type incr")
    sql(data, "create table marked as select 1 as n")
    marked = program(data, "mark shop.1.2.0")[1]["name"]
    sql(data, "drop table marked")
    archived(data)
    # The newest backup ends after the point; its name tells that an earlier one is needed.
    assert program(store, "backup --type incr")[0] == 0
    code, _report, said = in_place(data, kind="name", value=marked)
    assert code == 0, said
    assert sql(data, "select n from marked") == "1"
    assert program(store, "backup --type incr")[0] == 0
    in_place(data, "forget")


# ---- beside the live ones ------------------------------------------------------------------------------------------


def beside(data, **wanted):
    request = shlex.quote(json.dumps(wanted))
    done = as_postgres(data, f"printf %s {request} | python3 {PROGRAM} tables")
    return done.rc, json.loads(done.stdout) if done.rc == 0 else {}, done.stderr


@pytest.fixture(scope="module")
def lines(data, store):
    """Before a bad UPDATE and a DROP: the moment, and what the rows were."""
    sql(
        data,
        r"""
        grant references on orders to shop_owner;
        set role shop_owner;
        create schema sales;
        create type sales.state as enum ('open', 'paid');
        create table sales.lines (id serial primary key, "order" int references orders, state sales.state not null)
            partition by range (id);
        create function spy() returns boolean language plpgsql as $$ begin
          if exists (select from pg_roles where rolname = current_user and rolsuper) then
            raise exception 'an owner''s function runs as superuser'; end if; return true; end $$;
        create table sales.lines_low partition of sales.lines for values from (0) to (100);
        create table sales.lines_high partition of sales.lines for values from (100) to (10000);
        insert into sales.lines ("order", state) select n, 'open' from generate_series(1, 300) n;
        create table guarded (n int check (public.spy()));
        insert into guarded values (1);
        create publication every for table guarded;
        create table "Odd Name" as select n from generate_series(1, 7) n;
        reset role;
        create function watch() returns trigger language plpgsql as 'begin return new; end';
        create trigger watched before insert on orders for each row execute function watch();
        """,
    )
    program(store, "backup --type incr")
    sums = "select count(*) || md5(string_agg(o::text, ',' order by id)) from {} o"
    kept = {name: sql(data, sums.format(name)) for name in ("orders", "sales.lines")}
    at = moment(data)
    time.sleep(1)
    sql(data, "update orders set note = 'bad'; drop table sales.lines; drop table \"Odd Name\"")
    return at.isoformat(), kept, sums


def test_tables_come_back_beside_the_live_ones(data, lines):
    at, kept, sums = lines
    started = sql(data, "select pg_postmaster_start_time()")
    wanted = ["orders", "sales.lines", '"Odd Name"']
    code, report, said = beside(data, database="shop", tables=wanted, kind="time", value=at)
    assert code == 0, said
    schema = report["schema"]
    assert report["rows"][f"{schema}.orders"] == int(sql(data, "select count(*) from orders"))
    assert report["rows"][f'{schema}."Odd Name"'] == 7
    for name in kept:
        assert sql(data, sums.format(f"{schema}.{name.rpartition('.')[2]}")) == kept[name]
    assert sql(data, "select distinct note from orders") == "bad", "the live rows are as they were"
    assert sql(data, "select pg_postmaster_start_time()") == started
    assert sql(data, f"select nspowner = datdba from pg_namespace, pg_database where nspname = '{schema}'"
                     " and datname = 'shop'") == "t"  # fmt: skip
    # What it is for: the rows go back by the operator's own statement.
    sql(data, f"update orders set note = r.note from {schema}.orders r where r.id = orders.id")
    assert sql(data, sums.format("orders")) == kept["orders"]
    assert data.check_output("ls -A /var/lib/signalbox/scratch") == ""
    assert data.run("pgrep -f signalbox/[s]cratch").rc != 0


def test_a_partition_comes_back_by_itself_and_an_owners_function_gets_no_more_rights(data, lines):
    at, _kept, _sums = lines
    code, report, said = beside(data, database="shop", tables=["sales.lines_low", "guarded"], kind="time", value=at)
    assert code == 0, said
    schema = report["schema"]
    assert report["rows"] == {f"{schema}.guarded": 1, f"{schema}.lines_low": 99}
    assert sql(data, f"select count(*) from pg_inherits where inhrelid = '{schema}.lines_low'::regclass") == "0"
    assert sql(data, f"select count(*) from pg_publication_tables where schemaname = '{schema}'") == "0"


def test_a_database_comes_back_beside_the_live_one(data, lines):
    at, kept, sums = lines
    code, report, said = beside(data, database="shop", kind="time", value=at)
    assert code == 0, said
    for name in kept:
        assert sql(data, sums.format(name), report["database"]) == kept[name]
    assert sql(data, f"select has_database_privilege('shop_blue', '{report['database']}', 'connect')") == "f"
    sql(data, f'drop database "{report["database"]}"')


def test_what_was_not_there_is_told_and_nothing_stays(data, lines):
    at, _kept, _sums = lines
    before = sql(data, "select count(*) from pg_namespace"), sql(data, "select count(*) from pg_database")
    for wanted, words in (
        ({"tables": ["ordres"]}, "had no table ordres at that moment"),
        ({"tables": ["x'; drop table orders; --"]}, "had no table"),
        ({"database": "shopp", "tables": ["orders"]}, 'database "shopp" does not exist'),
        ({"database": "shopp"}, "shopp"),
        ({"tables": ["orders"], "value": "2001-01-01T00:00:00+00:00"}, "the oldest backup"),
    ):
        code, _report, said = beside(data, **{"database": "shop", "kind": "time", "value": at, **wanted})
        assert code != 0
        assert words in said, said
    # A copy that cannot be loaded, for a type is gone: all of it is taken back.
    sql(data, "alter type sales.state rename to former")
    code, _report, said = beside(data, database="shop", tables=["sales.lines"], kind="time", value=at)
    assert code != 0
    assert "sales.state" in said
    assert before == (sql(data, "select count(*) from pg_namespace"), sql(data, "select count(*) from pg_database"))


# ---- a repository that was spoiled ---------------------------------------------------------------------------------


def as_root(store, command, **wanted):
    done = store.run(f"printf %s {shlex.quote(json.dumps(wanted))} | python3 {PROGRAM} {command}")
    return done.rc, json.loads(done.stdout) if done.stdout.startswith("{") else {}, done.stderr


def test_what_the_database_host_deletes_comes_back_from_a_copy(data, store):
    assert program(store, "backup --type full")[0] == 0
    sql(data, "create table precious as select n from generate_series(1, 900) n")
    archived(data)
    code, taken, said = as_root(store, "copy")
    assert code == 0, said
    assert taken["repository_bytes"] > 0
    time.sleep(1.1)
    at = moment(data)
    # Root's own, and of the passphrase nothing is in its command lines.
    assert as_postgres(store, "ls /var/lib/signalbox/backup-copies/restic").rc != 0
    assert as_postgres(store, "touch /var/lib/signalbox/backup-copies/x").rc != 0

    # The attack, with what the database host has: everything is gone.
    for name in ("backup/main", "archive/main"):
        as_postgres(data, f"pgbackrest --log-level-console=off repo-rm --stanza=main --recurse {name}")
    gone = store.run(f"test -e {REPOSITORY}/backup/main/backup.info").rc != 0
    if not gone:
        store.check_output(f"rm -rf {REPOSITORY}/backup/main {REPOSITORY}/archive/main")
    assert program(store, "drill --kind latest")[0] != 0

    # A copy of what is left tells, and removes no earlier one.
    code, taken, _said = as_root(store, "copy")
    assert code != 0
    assert "accept_smaller=true" in taken["findings"][0]
    assert "accept_smaller" in json.dumps(program(store, "status")[1]["copy"])
    assert as_root(store, "copy")[0] != 0, "it is told again, for the older copies are compared too"

    code, _report, said = as_root(store, "roll-back", value="2001-01-01T00:00:00+00:00")
    assert code != 0
    assert "the oldest is of" in said
    code, back, said = as_root(store, "roll-back", value=at.isoformat())
    assert code == 0, said
    assert store.run(f"test -d {back['kept']}").rc == 0
    assert store.check_output("systemctl is-active pgbackrest signalbox-backup.timer") == "active\nactive"
    label, _line, answer = restored(store, {"kind": "immediate"}, "select count(*) from orders")
    assert answer == sql(data, "select count(*) from orders"), label
    # A full backup begins anew, and all is as it should be.
    # WAL that arrived after the copy is lost with what the attacker took.
    assert program(store, "backup --type full")[0] == 0
    archived(data)
    assert program(store, "verify")[0] == 0
    assert restored(store, {"kind": "latest"}, "select count(*) from precious")[2] == "900"
    assert as_root(store, "copy")[0] == 0
    store.check_output(f"rm -rf {back['kept']}")
    print(f"the database host {'could' if gone else 'could not'} delete the stanza by itself")


def test_a_killed_copy_and_a_killed_rollback_are_mended_by_the_next(data, store):
    at = moment(data)
    for command, wanted, killed in (("copy", {}, "restic"), ("roll-back", {"value": at.isoformat()}, "restic")):
        request = shlex.quote(json.dumps(wanted))
        store.run(f"(printf %s {request} | setsid python3 {PROGRAM} {command} >/dev/null 2>&1 &)")
        deadline = time.monotonic() + 30
        while store.run(f"pgrep -x {killed}").rc != 0:
            assert time.monotonic() < deadline
        store.run(f"pkill -KILL -f 'signalbox/[b]ackup {command}'; pkill -KILL -x {killed}")
        code, _report, said = as_root(store, command, **wanted)
        assert code == 0, said
    assert program(store, "status")[1]["code"] == 0
    store.run(f"rm -rf {REPOSITORY}/.spoiled-*")
    assert program(store, "backup --type full")[0] == 0


# ---- a host made anew ----------------------------------------------------------------------------------------------


def test_a_new_hosts_cluster_gives_way_to_the_one_that_is_backed_up(data, store):
    rows, before = (
        sql(data, "select count(*) from orders"),
        sql(data, "select system_identifier from pg_control_system()"),
    )
    archived(data)
    assert in_place(data, "rebuild") == (0, {}, "the cluster is the one that is backed up: nothing is restored\n")
    data.check_output("systemctl stop postgresql@17-main && rm -rf /var/lib/postgresql/17/main")
    as_postgres(
        data, "/usr/lib/postgresql/17/bin/initdb -D /var/lib/postgresql/17/main --data-checksums --locale=C.UTF-8"
    )
    data.check_output("systemctl start postgresql@17-main")
    assert sql(data, "select system_identifier from pg_control_system()", "postgres") != before
    code, report, said = in_place(data, "rebuild")
    assert code == 0, said
    assert sql(data, "select count(*) from orders") == rows
    assert sql(data, "select system_identifier from pg_control_system()") == before
    assert 0 <= report["rpo_seconds"] < 60
    assert kept(data) == [report["kept"]]
    assert program(store, "backup --type incr")[0] == 0
    in_place(data, "forget")


def test_a_server_that_is_down_can_be_put_back_too(data):
    rows = sql(data, "select count(*) from orders")
    archived(data)
    data.check_output(
        "pkill -KILL -x postgres; systemctl stop postgresql@17-main; rm -rf /var/lib/postgresql/17/main/base/*"
    )
    code, report, said = in_place(data, kind="latest")
    assert code == 0, said
    assert any("did not answer" in note for note in report["notes"])
    assert sql(data, "select count(*) from orders") == rows
    in_place(data, "forget")
