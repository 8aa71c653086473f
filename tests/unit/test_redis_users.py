"""Passwords of one user in Redis's file of users."""

from __future__ import annotations

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._redis_users import (
    UnknownUser,
    digests_of,
    with_digests,
)

OLD, NEW, OTHER = ("a" * 64, "b" * 64, "c" * 64)
FILE = (
    "user default off resetpass resetkeys resetchannels -@all\n"
    f"user agent-api-blue on sanitize-payload #{OTHER} ~agent-api:* resetchannels &agent-api:* +@all -@admin\n"
    f"user agent-api-green on sanitize-payload #{OLD} ~agent-api:* resetchannels &agent-api:* +@all -@admin\n"
)


def test_one_user_changes_and_the_others_stay() -> None:
    both = with_digests(FILE, "agent-api-green", [OLD, NEW])
    assert digests_of(both, "agent-api-green") == [OLD, NEW]
    assert digests_of(both, "agent-api-blue") == [OTHER]
    assert both.splitlines()[:2] == FILE.splitlines()[:2]


def test_back_to_one_is_what_the_role_writes() -> None:
    both = with_digests(FILE, "agent-api-green", [OLD, NEW])
    assert with_digests(both, "agent-api-green", [OLD]) == FILE
    assert with_digests(both, "agent-api-green", [NEW]) == FILE.replace(OLD, NEW)


def test_a_prefix_of_a_name_is_another_user() -> None:
    with pytest.raises(UnknownUser):
        with_digests(FILE, "agent-api", [NEW])
