"""What an operator or a disk does wrong ends soon, with a clear answer, and with nothing lost."""

from __future__ import annotations

import shlex
import time

import pytest
from test_backup import (  # noqa: F401  fixtures
    PASSPHRASE,
    REPOSITORY,
    archived,
    as_postgres,
    data,
    in_place,
    kept,
    moment,
    program,
    sql,
    store,
)

CONFIGURATION = "/etc/postgresql/17/main/conf.d/99-test.conf"
HANGING = "/run/systemd/system/postgresql@17-main.service.d/hang.conf"
PASSED = "select string_agg(n::text, ',' order by n) from passed"


@pytest.fixture(scope="module", autouse=True)
def backed_up(data, store):  # noqa: F811
    sql(data, "drop table if exists passed; create table passed as select 1 as n")
    archived(data)
    assert program(store, "backup --type incr")[0] == 0
    yield
    program(store, "backup --type incr")


def test_two_restores_in_a_row_to_different_moments_and_forth_again(data, store):  # noqa: F811
    time.sleep(1.1)
    first = moment(data)
    time.sleep(1)
    sql(data, "insert into passed values (2)")
    second = moment(data)
    time.sleep(1)
    sql(data, "insert into passed values (3)")
    for at, rows in ((second, "1,2"), (first, "1"), (second, "1,2")):
        code, _report, said = in_place(data, kind="time", value=at.isoformat())
        assert code == 0, said
        assert sql(data, PASSED) == rows, at
        # As restore.yml does: the newest backup tells which timeline lives.
        assert program(store, "backup --type incr")[0] == 0
    sql(data, "insert into passed values (4)")
    archived(data)
    code, _report, said = in_place(data, kind="latest")
    assert code == 0, said
    assert sql(data, PASSED) == "1,2,4"
    assert program(store, "backup --type incr")[0] == 0
    in_place(data, "forget")


def test_a_moment_that_is_not_archived_yet_is_refused_at_once(data, store):  # noqa: F811
    started = sql(data, "select pg_postmaster_start_time()")
    sql(data, "alter system set archive_command = '/bin/false'")
    sql(data, "select pg_reload_conf()")
    try:
        time.sleep(3)
        at = moment(data).isoformat()
        time.sleep(1.1)
        began = time.monotonic()
        code, report, said = program(store, f"drill --kind time --value {at}")
        assert code != 0
        assert "cannot be reached: the newest WAL arrived at" in said + str(report), said
        assert time.monotonic() - began < 60
        code, _report, said = in_place(data, kind="time", value=at)
        assert code != 0
        assert "cannot be reached: the newest WAL arrived at" in said, said
        assert sql(data, "select pg_postmaster_start_time()") == started, "nothing was stopped"
        assert kept(data) == []
    finally:
        sql(data, "alter system reset archive_command")
        sql(data, "select pg_reload_conf()")
    archived(data)
    code, _report, said = program(store, f"drill --kind time --value {at}")
    assert code == 0, said


def test_settings_that_are_lower_than_the_backups_do_not_stop_a_restore(data, store):  # noqa: F811
    declared = int(sql(data, "show max_connections"))
    data.check_output(f"printf 'max_connections = {declared - 20}\\n' > {CONFIGURATION}; chmod 644 {CONFIGURATION}")
    try:
        archived(data)
        code, report, said = in_place(data, kind="latest")
        assert code == 0, said
        words = f"max_connections is {declared - 20} here and was {declared} when the backup was taken"
        assert any(words in note for note in report["notes"]), report
        assert sql(data, "show max_connections") == str(declared)
        data.check_output("systemctl restart postgresql@17-main")
        assert sql(data, "show max_connections") == str(declared - 20)
    finally:
        data.check_output(f"rm {CONFIGURATION} && systemctl restart postgresql@17-main")
    assert sql(data, PASSED)
    assert program(store, "backup --type incr")[0] == 0
    in_place(data, "forget")


def test_a_server_start_that_hangs_ends_soon_and_the_old_cluster_is_back(data):  # noqa: F811
    rows = sql(data, PASSED)
    # As Debian's unit does when recovery dies early: it says why, and never ends.
    # The journal asks what unit a process is of, which one that has ended no longer tells.
    hang = 'exec systemd-cat -t postgresql sh -c "echo FATAL: this recovery has died; exec sleep infinity"'
    unit = f"[Service]\nExecStart=\nExecStart=/bin/sh -c {shlex.quote(hang)}\n"
    data.check_output(f"mkdir -p $(dirname {HANGING}) && printf %s {shlex.quote(unit)} > {HANGING}")
    data.check_output("systemctl daemon-reload")
    began = time.monotonic()
    try:
        archived(data)
        code, _report, said = in_place(data, kind="latest")
    finally:
        data.check_output(f"rm {HANGING}; systemctl daemon-reload")
    assert code != 0
    assert "this recovery has died" in said, said
    assert time.monotonic() - began < 120
    code, _report, said = in_place(data, "undo")
    assert code == 0, said
    assert sql(data, PASSED) == rows
    assert kept(data) == []


def test_another_passphrase_than_the_repositorys_is_told_and_changes_nothing(data, store):  # noqa: F811
    started = sql(data, "select pg_postmaster_start_time()")
    keys = "/run/signalbox-backup/cipher.conf"
    store.check_output(
        f"cp -p {keys} /root/cipher.conf && sed -i 's/{PASSPHRASE}/quite another one than it is/' {keys}"
    )
    store.check_output("systemctl restart pgbackrest")
    try:
        assert "another passphrase" in program(store, "status")[1]["message"]
        for act in (
            lambda: program(store, "drill --kind latest"),
            lambda: program(store, "backup --type incr"),
            lambda: in_place(data, kind="latest"),
        ):
            code, report, said = act()
            assert code != 0
            assert "another passphrase" in said + str(report), said
        assert sql(data, "select pg_postmaster_start_time()") == started, "nothing was stopped"
    finally:
        store.check_output(f"cp -p /root/cipher.conf {keys} && rm /root/cipher.conf && systemctl restart pgbackrest")
    assert program(store, "drill --kind latest")[0] == 0


def test_a_missing_backup_file_is_found_by_verification_and_drill(store):  # noqa: F811
    full = as_postgres(store, f"ls -d {REPOSITORY}/backup/main/*F | tail -1").stdout.strip()
    path = store.check_output(f"find {full}/ -type f -path '*bundle*' -size +100k | head -1")
    store.check_output(f"mv {path} /root/hidden")
    try:
        code, _answer, said = program(store, "verify")
        assert code == 14, said
        code, report, said = program(store, "drill --kind latest")
        assert code != 0, report
        assert "restore" in str(report) + said
    finally:
        store.check_output(f"mv /root/hidden {path}")
    assert program(store, "verify")[0] == 0
    assert program(store, "drill --kind latest")[0] == 0


@pytest.mark.parametrize("command", ["verify", "drill --kind latest"])
def test_what_reads_the_repository_waits_for_a_backup_which_expires_at_its_end(store, command):  # noqa: F811
    held = "runuser -u postgres -- flock /run/pgbackrest/signalbox-repository.lock sleep 8"
    store.run(f"cd / && (setsid {held} >/dev/null 2>&1 &) ; sleep 1")
    began = time.monotonic()
    code, _answer, said = program(store, command)
    assert code == 0, said
    assert time.monotonic() - began > 5
