from __future__ import annotations

import os

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _access as rules
from ansible_collections.signalbox.platform.plugins.module_utils._access_host import AccessError, Guard, same

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA7 alice"
HOST = {
    "os": {"id": "debian", "version": "13"},
    "user": "alice",
    "user_keys": 1,
    "client": {"address": "10.1.2.3", "port": 22},
}
WANTED = {
    "users": [],
    "ssh_ports": [22],
    "ssh_sources": [],
    "ssh_allow_users": [],
    "ssh_permit_root_login": "prohibit-password",
    "open_ports": [],
    "over_ssh": True,
}


def problems(host=None, **wanted):
    return rules.access_problems({**HOST, **(host or {})}, {**WANTED, **wanted})


def test_a_host_that_keeps_its_access_has_no_problem():
    assert problems() == []
    assert problems(users=[{"name": "alice", "sudo": True, "authorized_keys": [KEY]}], ssh_sources=["10.0.0.0/8"]) == []


@pytest.mark.parametrize(
    ("host", "wanted", "message"),
    [
        ({"os": {"id": "debian", "version": "12"}}, {}, "Debian 13 or newer"),
        ({"os": {"id": "ubuntu", "version": "24.04"}}, {}, "Debian 13 or newer"),
        ({"user_keys": 0}, {}, "no authorized key"),
        ({}, {"users": [{"name": "alice", "sudo": True, "authorized_keys": []}]}, "no authorized key"),
        ({"user_keys": 0}, {"users": [{"name": "alice", "sudo": True}]}, "no authorized key"),
        ({}, {"users": [{"name": "alice", "authorized_keys": [KEY]}]}, "without sudo"),
        ({}, {"users": [{"name": "alice", "state": "absent"}]}, "would remove alice"),
        ({}, {"ssh_allow_users": ["bob"]}, "base_ssh_allow_users leaves out alice"),
        ({"user": "root"}, {"ssh_permit_root_login": "no"}, "while Ansible connects as root"),
        ({"user": "root"}, {"ssh_permit_root_login": "forced-commands-only"}, "while Ansible connects as root"),
        ({}, {"ssh_ports": [2222]}, "leaves out 22"),
        ({}, {"ssh_ports": []}, "nobody could log in"),
        ({}, {"ssh_sources": ["192.0.2.0/24"]}, "leaves out 10.1.2.3"),
        ({}, {"ssh_sources": ["2001:db8::/32"]}, "leaves out 10.1.2.3"),
        ({}, {"ssh_sources": ["10.0.0.0/8", "office"]}, "'office'"),
        ({}, {"open_ports": [{"port": 70000}]}, "from 1 to 65535"),
        ({}, {"open_ports": [{"port": 80, "sources": ["10.0.0.300"]}]}, "10.0.0.300"),
        ({}, {"open_ports": [{"port": 80, "comment": 'say "hi"'}]}, "quote"),
        ({}, {"users": [{"name": "bob"}, {"name": "bob"}]}, "more than once"),
        ({}, {"users": [{"name": "Bob Smith"}]}, "lower case"),
        ({}, {"users": [{"name": "root", "state": "absent"}]}, "remove root"),
        ({}, {"users": [{"name": "bob", "authorized_keys": ["/home/bob/.ssh/id.pub"]}]}, "no public key"),
        ({}, {"users": [{"name": "bob", "authorized_keys": [KEY + "\n" + KEY]}]}, "no public key"),
    ],
)
def test_each_conflict_is_named(host, wanted, message):
    found = problems(host, **wanted)
    assert len(found) == 1, found
    assert message in found[0]


def test_all_conflicts_come_at_once():
    assert len(problems({"user_keys": 0}, ssh_ports=[2222], ssh_allow_users=["bob"], ssh_sources=["192.0.2.0/24"])) == 4


def test_a_connection_that_needs_no_ssh_is_not_held_to_it():
    assert problems({"user_keys": 0}, over_ssh=False, ssh_ports=[2222]) == []


def test_a_mapped_address_counts_as_its_ipv4_address():
    assert problems({"client": {"address": "::ffff:10.1.2.3", "port": 22}}, ssh_sources=["10.0.0.0/8"]) == []


def test_authorized_keys_skips_what_is_no_key():
    text = f'# comment\n\n{KEY}\nfrom="10.0.0.0/8",no-pty {KEY}\nnonsense\n'
    assert len(rules.authorized_keys(text)) == 2


def test_ssh_client_reads_an_environment():
    environment = b"HOME=/root\0SSH_CONNECTION=fe80::1%eth0 40000 10.0.0.2 2222\0"
    assert rules.ssh_client(environment) == {"address": "fe80::1", "port": 2222}
    assert rules.ssh_client(b"HOME=/root\0") == {}
    assert rules.ssh_client(b"SSH_CONNECTION=UNKNOWN 65535 UNKNOWN 65535x\0") == {}


def test_key_files_expands_tokens():
    text = "port 22\nport 2222\nauthorizedkeysfile /etc/ssh/authorized_keys.d/%u .ssh/authorized_keys\n"
    settings = rules.sshd_settings(text)
    assert settings["port"] == ["22", "2222"]
    assert rules.key_files(settings, "a", "/home/a") == ["/etc/ssh/authorized_keys.d/a", "/home/a/.ssh/authorized_keys"]
    assert rules.key_files({"authorizedkeysfile": ["none"]}, "a", "/home/a") == []


def test_has_capability():
    assert not rules.has_capability("CapBnd:\t00000004e8ac75fb\n", rules.CAP_SYS_TIME)
    assert rules.has_capability("CapBnd:\t000001ffffffffff\n", rules.CAP_SYS_TIME)
    assert not rules.has_capability("", rules.CAP_SYS_TIME)


def test_is_mount_point():
    mountinfo = "671 650 254:0 /docker/hosts /etc/hosts rw - ext4 /dev/vda rw\n"
    assert rules.is_mount_point(mountinfo, "/etc/hosts")
    assert not rules.is_mount_point(mountinfo, "/etc")


def test_unit_states():
    loaded = "Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
    missing = "Id=b.service\nLoadState=not-found\n"
    assert rules.unit_states(f"{loaded}\n{missing}") == {
        "a.service": {"load": "loaded", "enabled": "enabled", "active": "active"},
        "b.service": {"load": "not-found", "enabled": "", "active": ""},
    }


class Commands:
    """Answers commands with 0 unless their first words are listed as failing; keeps what ran."""

    def __init__(self, *failing):
        self.failing, self.ran = failing, []

    def __call__(self, command):
        self.ran.append(" ".join(command))
        return (1 if any(part in self.ran[-1] for part in self.failing) else 0), "", "no"


def make_guard(tmp_path, run):
    paths = [str(tmp_path / "etc/sshd.conf"), str(tmp_path / "etc/keys.d")]
    os.makedirs(paths[1], exist_ok=True)
    return Guard(run, paths, str(tmp_path / "kept"), "/restore")


def test_files_that_differ_from_the_proven_ones_are_pending(tmp_path):
    guard = make_guard(tmp_path, Commands())
    assert guard.first()
    assert not guard.pending()
    guard.keep()
    assert not guard.pending()
    (tmp_path / "etc/keys.d/alice").write_text(KEY)
    assert guard.pending()
    guard.keep()
    assert not guard.pending()
    (tmp_path / "etc/sshd.conf").write_text("Port 22\n")
    assert guard.pending()


def test_a_late_confirmation_fails_and_proves_nothing(tmp_path):
    guard = make_guard(tmp_path, Commands("is-active"))
    with pytest.raises(AccessError, match="too late"):
        guard.confirm()
    assert guard.first()


def test_a_confirmation_stops_the_timer_before_it_keeps(tmp_path):
    run = Commands()
    guard = make_guard(tmp_path, run)
    guard.confirm()
    assert run.ran[-1] == "systemctl stop signalbox-access-guard.timer"
    assert not guard.first()


def test_nothing_is_applied_without_the_timer(tmp_path):
    run = Commands("systemd-run")
    with pytest.raises(AccessError, match="nothing was applied"):
        make_guard(tmp_path, run).arm(60)


def test_same_compares_trees(tmp_path):
    for side in ("a", "b"):
        (tmp_path / side / "deep").mkdir(parents=True)
        (tmp_path / side / "deep/file").write_text("x")
    assert same(str(tmp_path / "a"), str(tmp_path / "b"))
    (tmp_path / "b/deep/more").write_text("")
    assert not same(str(tmp_path / "a"), str(tmp_path / "b"))
    assert same(str(tmp_path / "none"), str(tmp_path / "neither"))
    assert not same(str(tmp_path / "a"), str(tmp_path / "neither"))
