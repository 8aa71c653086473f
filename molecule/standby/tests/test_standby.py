"""Two hosts that take each other's place, and what must never happen meanwhile: two of them that write."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).resolve().parents[1]
PROGRAM = "/usr/local/lib/signalbox/standby"
DATA = "/var/lib/postgresql/17/main"
MIB = 1 << 20
SLOT_BYTES = 64 * MIB


def connect(name):
    return testinfra.get_host(f"docker://{name}")


@pytest.fixture(scope="module")
def one():
    return connect("standby-one")


@pytest.fixture(scope="module")
def two():
    return connect("standby-two")


@pytest.fixture(scope="module")
def store():
    return connect("standby-store")


def as_postgres(host, command):
    return host.run(f"cd / && runuser -u postgres -- sh -c {shlex.quote(command)}")


def sql(host, statement, database="shop"):
    done = as_postgres(host, f"psql -XAtqw -v ON_ERROR_STOP=1 -d {database} -c {shlex.quote(statement)}")
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def status(host):
    return json.loads(host.check_output(f"python3 {PROGRAM} status"))


def wait_for(check, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.3)
    return False


def play(name, primary, **environment):
    command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], str(SCENARIO / f"{name}.yml")]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    environment = {**os.environ, "STANDBY_PRIMARY": primary, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


def same_rows(primary, standby):
    """The standby has replayed all that the primary has, and every table of both is equal, row by row."""
    end = sql(primary, "select pg_current_wal_lsn()")
    assert wait_for(lambda: sql(standby, f"select pg_last_wal_replay_lsn() >= '{end}'") == "t"), status(standby)
    for table in ("ledger", "pgbench_accounts", "pgbench_history"):
        question = f"select count(*), md5(string_agg(t::text, ',' order by t::text)) from {table} t"
        assert sql(primary, question) == sql(standby, question), table


def refuses_writes(host):
    done = as_postgres(host, 'psql -XAtqw -d shop -c "insert into ledger values (-1)"')
    return done.rc != 0 and "read-only transaction" in done.stderr


class Load:
    """One client that writes numbers one after the other; it knows which the server said it has."""

    SCRIPT = (
        'n={first}; while psql -XAtqw -v ON_ERROR_STOP=1 -d shop -c "insert into ledger values ($n)"; '
        "do echo $n >> /tmp/committed; n=$((n+1)); done"
    )

    def __init__(self, host, first):
        self.host = host
        host.run("rm -f /tmp/committed")
        script = shlex.quote(self.SCRIPT.format(first=first))
        host.check_output(
            f"cd / && (setsid runuser -u postgres -- sh -c {script} >/tmp/load.log 2>&1 &) && "
            "(setsid runuser -u postgres -- pgbench -n -c 4 -T 600 shop >/tmp/pgbench.log 2>&1 &)"
        )
        assert wait_for(lambda: self.committed() > first + 5)

    def committed(self):
        text = self.host.run("tail -n 1 /tmp/committed").stdout.strip()
        return int(text or -1)


@pytest.fixture(scope="module", autouse=True)
def rows(one):
    sql(one, "create table ledger (n bigint primary key)")
    assert as_postgres(one, "pgbench -i -q -s 2 shop").rc == 0


def test_rows_arrive_under_load_and_the_standby_only_reads(one, two):
    assert as_postgres(one, "pgbench -n -c 4 -T 5 shop").rc == 0
    same_rows(one, two)
    assert refuses_writes(two)
    found = status(two)
    assert (found["kind"], found["streaming"], found["fenced"]) == ("standby", True, True)
    assert (
        sql(one, "select slot_name, active, wal_status from pg_replication_slots") == "signalbox_standby_two|t|reserved"
    )
    # The primary allows 60 sessions, the standby's own configuration 40, with which it would not start.
    assert sql(two, "show max_connections") == "60"


def test_the_login_comes_over_tls_from_the_standby_alone_and_its_password_is_kept(one, two, store):
    assert sql(one, "select ssl from pg_stat_ssl join pg_stat_replication using (pid)") == "t"
    for host in (one, two):
        passfile = host.file("/etc/signalbox/postgresql-replication.pass")
        assert (passfile.user, passfile.mode) == ("postgres", 0o600)
        shown = host.check_output("ps -eo args; journalctl --no-pager; cat /etc/postgresql/17/main/conf.d/*")
        assert "replicationSecret" not in shown
    address = one.check_output("hostname -I").split()[0]
    secret = "PGPASSWORD=replicationSecret0123456789 PGCONNECT_TIMEOUT=5"
    asked = f"psql -XAtqw 'host={address} user=signalbox_replication dbname=postgres %s' -c 'select 1'"
    for host, more in ((store, "sslmode=require"), (two, "sslmode=disable")):
        for database in ("", " replication=true"):
            refused = host.run(f"{secret} {asked % (more + database)}")
            assert refused.rc != 0
            assert "pg_hba.conf" in refused.stderr or "no encryption" in refused.stderr, refused.stderr
    # In a database it may read nothing.
    allowed = two.run(f"{secret} {asked % 'sslmode=require'}".replace("select 1", "select from signalbox.heartbeat"))
    assert "permission denied" in allowed.stderr


def test_a_standby_that_is_away_cannot_fill_the_disk_and_catches_up_from_the_archive(one, two):
    two.check_output("systemctl stop signalbox-standby.timer postgresql@17-main")
    sql(one, "create table if not exists filler (n int)")
    for number in range(12):
        sql(one, f"insert into filler values ({number})")
        segment = sql(one, "select pg_walfile_name(pg_switch_wal())")
    # Of twelve segments the slot may keep four; the checkpoint lets go of the others.
    assert wait_for(lambda: sql(one, "checkpoint; select wal_status from pg_replication_slots") == "lost")
    assert wait_for(lambda: sql(one, f"select last_archived_wal >= '{segment}' from pg_stat_archiver") == "t")
    two.check_output("systemctl start postgresql@17-main")
    # The archive brings it on.
    assert wait_for(lambda: sql(two, "select count(*) from pg_class where relname = 'filler'") == "1")
    assert wait_for(lambda: sql(two, "select count(*) from filler") == "12")
    two.check_output("systemctl start signalbox-standby.timer")
    assert wait_for(lambda: status(two)["streaming"]), two.check_output(
        "journalctl -u signalbox-standby -n 20 --no-pager"
    )
    same_rows(one, two)
    assert wait_for(lambda: sql(one, "select active from pg_replication_slots") == "t")


def test_a_promotion_with_the_primary_alive_loses_nothing_and_the_old_one_cannot_write(one, two):
    # What an earlier restore left: with standby.signal alone this would open the server for writing again.
    sql(one, "alter system set recovery_target_time = '2026-01-01 00:00:00+00'", "postgres")
    sql(one, "alter system set recovery_target_action = 'promote'", "postgres")
    load = Load(one, 0)
    code, text = play("promote", "standby-two")
    assert code == 0, text
    last = load.committed()
    assert int(sql(two, "select max(n) from ledger")) in (last, last + 1)
    assert int(sql(two, "select count(*) from ledger")) >= last + 1
    assert sql(two, "select timeline_id from pg_control_checkpoint()") == "2"
    assert status(one)["kind"] == "stopped"
    # Somebody starts it by hand, past systemd and the guard.
    assert as_postgres(one, "/usr/bin/pg_ctlcluster --skip-systemctl-redirect 17 main start").rc == 0
    assert refuses_writes(one)
    time.sleep(3)
    assert refuses_writes(one)
    assert as_postgres(one, "/usr/bin/pg_ctlcluster --skip-systemctl-redirect 17 main stop").rc == 0
    # Repeated it changes nothing.
    code, text = play("promote", "standby-two")
    assert code == 0, text
    assert sql(two, "select timeline_id from pg_control_checkpoint()") == "2"


def test_the_old_primary_follows_and_backups_go_on(one, two, store):
    code, text = play("converge", "standby-two")
    assert code == 0, text
    same_rows(two, one)
    assert status(one)["streaming"]
    assert sql(one, "select count(*) from pg_replication_slots") == "0"
    assert sql(two, "select slot_name, active from pg_replication_slots") == "signalbox_standby_one|t"
    done = as_postgres(
        store, "python3 /usr/local/lib/signalbox/backup backup && pgbackrest --stanza=main info --output=json"
    )
    assert done.rc == 0, done.stderr
    assert json.loads(done.stdout)[0]["backup"][-1]["archive"]["start"].startswith("00000002")


def test_after_a_restore_in_place_the_standby_is_rewound_to_what_came_back(one, two):
    sql(two, "insert into ledger values (90000)")
    moment = sql(two, "select clock_timestamp()")
    sql(two, "select pg_sleep(1)")
    sql(two, "insert into ledger values (90001)")
    same_rows(two, one)
    target = json.dumps({"kind": "time", "value": moment.replace(" ", "T") + ":00"})
    restored = two.run(f"echo {shlex.quote(target)} | python3 /usr/local/lib/signalbox/backup restore")
    assert restored.rc == 0, restored.stderr[-2000:]
    assert sql(one, "select max(n) from ledger") == "90001", "a standby does not undo by itself what it has"
    told = one.run(f"python3 {PROGRAM} follow")
    assert told.rc == 1
    assert "standby-one left the primary's timeline 3" in told.stderr
    done = one.run(f"python3 {PROGRAM} follow --overwrite")
    assert "rewound" in done.stdout, done.stdout + done.stderr
    same_rows(two, one)
    assert sql(one, "select max(n) from ledger") == "90000"


def test_a_copy_that_was_killed_does_not_start_and_is_made_again(one, two):
    one.check_output("systemctl stop postgresql@17-main && echo {} > /var/lib/signalbox/standby-copy.json")
    assert one.run("systemctl start postgresql@17-main").rc != 0
    code, text = play("converge", "standby-two")
    assert code == 0, text
    assert "copied it from the repository, for a copy that was interrupted is made anew" in text
    same_rows(two, one)


def test_the_inventory_of_before_is_refused(one, two):
    code, text = play("converge", "standby-one")
    assert code != 0
    assert "standby-one is the primary by the inventory, and its server is a standby" in text


def test_a_primary_that_was_killed_is_replaced_and_stays_shut_when_it_returns(one, two):
    sql(two, "insert into ledger select generate_series(100000, 100010)")
    load = Load(two, 200000)
    arrived = load.committed()
    assert wait_for(lambda: int(sql(one, "select max(n) from ledger")) >= arrived)
    # Commits that reach nobody: the standby is cut off a moment before its primary dies.
    sql(one, "alter system set primary_conninfo = ''; ", "postgres")
    sql(one, "select pg_reload_conf()", "postgres")
    assert wait_for(lambda: not status(one)["streaming"])
    alone = load.committed()
    assert wait_for(lambda: load.committed() > alone + 5)
    subprocess.run(["docker", "kill", "standby-two"], check=True, capture_output=True)
    sql(one, "alter system reset primary_conninfo", "postgres")
    code, text = play("promote", "standby-one", STANDBY_LOST="standby-two")
    assert code == 0, text
    assert int(sql(one, "select max(n) from ledger")) >= arrived
    sql(one, "insert into ledger values (300000)")
    subprocess.run(["docker", "start", "standby-two"], check=True, capture_output=True)
    assert wait_for(lambda: two.run("systemctl is-active postgresql@17-main").stdout.strip() == "active", 120)
    assert wait_for(lambda: as_postgres(two, "psql -XAtqw -d shop -c 'select 1'").rc == 0, 60)
    assert refuses_writes(two)
    assert "was promoted in this cluster's place" in two.check_output("journalctl -b --no-pager -u postgresql@17-main")
    assert int(sql(two, "select max(n) from ledger where n < 300000")) > int(
        sql(one, "select max(n) from ledger where n < 300000")
    )


def test_it_is_told_what_it_holds_and_rewound_when_that_is_given_up(one, two):
    code, text = play("converge", "standby-one")
    assert code != 0
    assert "standby-two left the primary's timeline" in text, text[-3000:]
    assert "-e overwrite=standby-two" in text
    assert refuses_writes(two)
    code, text = play("converge", "standby-one", STANDBY_OVERWRITE="standby-two")
    assert code == 0, text
    assert "rewound it to where it left the primary" in text
    same_rows(one, two)
    assert status(two)["streaming"]


def test_a_running_primary_that_was_replaced_while_it_was_cut_off_stops_to_write(one, two):
    """Both write for a moment: the standby is promoted by hand. The watch ends it, with nobody at the controls."""
    two.check_output("runuser -u postgres -- /usr/lib/postgresql/17/bin/pg_ctl promote -D " + DATA)
    assert wait_for(lambda: status(two)["kind"] == "primary")
    sql(two, "checkpoint", "postgres")
    assert wait_for(lambda: refuses_writes(one), 60)
    assert sql(two, "select pg_is_in_recovery()") == "f"
