from __future__ import annotations

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._accounts import Account, Wish, describe, plan

ACCOUNTS = {"alice": Account("/bin/bash", frozenset({"adm"})), "root": Account("/bin/bash", frozenset())}
GROUPS = frozenset({"adm", "sudo", "alice", "root", "left"})


@pytest.mark.parametrize(
    ("wish", "commands"),
    [
        (Wish("alice"), []),
        (Wish("alice", groups=frozenset({"adm"}), shell="/bin/bash"), []),
        (Wish("alice", groups=frozenset({"sudo", "adm"})), [["usermod", "--groups", "adm,sudo", "alice"]]),
        (Wish("alice", groups=frozenset()), [["usermod", "--groups", "", "alice"]]),
        (Wish("alice", shell="/bin/sh"), [["usermod", "--shell", "/bin/sh", "alice"]]),
        (Wish("alice", present=False), [["userdel", "--force", "alice"]]),
        (Wish("gone", present=False, groups=frozenset({"unheard"})), []),
        (Wish("bob"), [["useradd", "--create-home", "--shell", "/bin/bash", "bob"]]),
        (Wish("left"), [["useradd", "--create-home", "--shell", "/bin/bash", "--gid", "left", "left"]]),
        (
            Wish("bob", groups=frozenset({"ops", "adm"}), shell="/bin/sh"),
            [
                ["groupadd", "--system", "ops"],
                ["useradd", "--create-home", "--shell", "/bin/sh", "--groups", "adm,ops", "bob"],
            ],
        ),
    ],
)
def test_plan(wish, commands):
    assert plan([wish], ACCOUNTS, GROUPS) == commands


def test_a_group_two_wishes_share_is_made_once():
    wishes = [Wish("bob", groups=frozenset({"ops"})), Wish("eve", groups=frozenset({"ops"}))]
    assert [command[0] for command in plan(wishes, ACCOUNTS, GROUPS)] == ["groupadd", "useradd", "useradd"]


def test_describe_shows_only_declared_accounts():
    assert describe([Wish("alice"), Wish("bob")], ACCOUNTS) == {"alice": {"shell": "/bin/bash", "groups": ["adm"]}}
