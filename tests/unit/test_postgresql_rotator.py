"""The login by which Vault sets the passwords of others: planned against made-up servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_postgresql_layout import FRESH, INPUTS, PASSWORD, SHOP, SHOP_PASSWORDS, converged, told, with_role

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_input import input_problems
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_layout import plan
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_state import Action, RoleState, ServerState
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_wanted import LayoutError, parse

ROTATOR = {"name": "vault"}
WORD = "let vault set the password of "


def rotated(state: ServerState, rotator: dict[str, str] | None = None, passwords: Any = None) -> list[Action]:
    return plan(
        state, parse([SHOP], [], passwords or {}, rotator or ROTATOR), lambda password: f"verifier of {password}"
    )


def with_rotator(**change: Any) -> ServerState:
    administers = frozenset({"shop_owner", "shop_blue"})
    role = RoleState(
        "vault", connection_limit=10, powers=frozenset({"CREATEROLE"}), member_of=administers, administers=administers
    )
    state = with_role(converged(), replace(role, **change))
    postgres = replace(state.databases["postgres"], connect=frozenset({"vault"}))
    return replace(state, databases={**state.databases, "postgres": postgres})


def test_a_rotator_on_a_fresh_server_gets_its_rights_and_nobody_else_a_password() -> None:
    actions = rotated(FRESH, {"name": "vault", "password": PASSWORD})
    words = told(actions)
    assert [word for word in words if "vault" in word] == [
        "create login role vault",
        WORD + "shop_blue",
        WORD + "shop_owner",
        "set the password of vault",
        "grant connect on database postgres to vault",
    ]
    assert [word for word in words if word.startswith("set the password")] == ["set the password of vault"]
    made = {action.description: action.statement for action in actions}
    assert "CREATEROLE" in made["create login role vault"]
    assert "NOSUPERUSER" in made["create login role vault"]
    assert " NOCREATEROLE" in made["create login role shop_blue"]
    assert made[WORD + "shop_blue"].endswith("WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")


def test_a_rotator_that_has_its_rights_is_left_alone() -> None:
    assert told(rotated(with_rotator())) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"administers": frozenset({"shop_owner"})}, [WORD + "shop_blue"]),  # it could act as the login
        ({"powers": frozenset()}, ["alter role vault: give CREATEROLE"]),
        ({"powers": frozenset({"CREATEROLE", "CREATEDB"})}, ["alter role vault: take CREATEDB"]),
        ({"member_of": frozenset({"shop_owner", "shop_blue", "other"})}, ["revoke other from vault"]),
    ],
)
def test_drift_of_a_rotator(change: dict[str, Any], expected: list[str]) -> None:
    assert told(rotated(with_rotator(**change))) == expected


def test_a_superuser_is_no_rotator() -> None:
    with pytest.raises(LayoutError, match="role vault is a superuser"):
        rotated(with_rotator(powers=frozenset({"SUPERUSER"})))


def test_with_a_rotator_no_login_has_a_password_here() -> None:
    with pytest.raises(LayoutError, match=r"passwords\.shop_blue: is set by the rotator vault"):
        parse([SHOP], [], SHOP_PASSWORDS, ROTATOR)
    with pytest.raises(LayoutError, match="'shop_blue' is used more than once"):
        parse([SHOP], [], {}, {"name": "shop_blue"})


@pytest.mark.parametrize(
    ("rotator", "message"),
    [
        ({"name": "vault", "addresses": ["10.0.0.9"]}, ""),
        ({"name": "vault"}, "postgresql_rotator.addresses: is empty"),
        ({"addresses": ["10.0.0.9"]}, "postgresql_rotator.name: is missing"),
        ({"name": "vault", "addresses": ["nonsense"]}, "postgresql_rotator.addresses"),
        ({"name": "vault", "password": "short", "addresses": ["10.0.0.9"]}, "passwords.vault: has fewer"),
    ],
)
def test_inputs_of_a_rotator(rotator: dict[str, Any], message: str) -> None:
    found = "\n".join(
        input_problems({**INPUTS, "passwords": {}, "roles": [], "clients": [], "peers": [], "rotator": rotator})
    )
    assert (message in found) if message else found == ""
