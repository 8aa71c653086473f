"""The planner of the database layout, against made-up servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._listen_addresses import address_problems
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import Catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_input import input_problems, logins
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_layout import plan
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_state import (
    Action,
    DatabaseState,
    RoleState,
    SchemaState,
    ServerState,
    literal,
    quoted,
)
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_wanted import LayoutError, parse
from ansible_collections.signalbox.platform.plugins.module_utils._scram import make_verifier

PASSWORD = "a-long-enough-password"
VERIFIER = str(make_verifier(PASSWORD))
FRESH = ServerState(
    roles={"postgres": RoleState("postgres", powers=frozenset({"SUPERUSER"}))},
    databases={name: DatabaseState(name, "postgres") for name in ("postgres", "template0", "template1")},
)
SHOP: dict[str, Any] = {"name": "shop", "logins": [{"name": "shop_blue", "connection_limit": 9}]}
SHOP_PASSWORDS = {"shop_owner": PASSWORD, "shop_blue": PASSWORD}

DEFAULTS = {
    ("shop_app", "TABLES"): frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"}),
    ("shop_app", "SEQUENCES"): frozenset({"USAGE", "SELECT", "UPDATE"}),
    ("shop_read", "TABLES"): frozenset({"SELECT"}),
    ("shop_read", "SEQUENCES"): frozenset({"SELECT"}),
}
GROUPS = frozenset({"shop_app", "shop_read"})
PUBLIC = SchemaState("pg_database_owner", False, GROUPS, DEFAULTS, {})


def converged() -> ServerState:
    """A server on which the layout SHOP is in force."""
    roles = {
        "postgres": FRESH.roles["postgres"],
        "shop_owner": RoleState("shop_owner", verifier=VERIFIER, owns_in=frozenset({"shop"})),
        "shop_app": RoleState("shop_app", login=False),
        "shop_read": RoleState("shop_read", login=False),
        "shop_blue": RoleState("shop_blue", connection_limit=9, verifier=VERIFIER, member_of=frozenset({"shop_app"})),
    }
    statistics = frozenset({"pg_stat_statements"})
    databases = {
        "postgres": DatabaseState("postgres", "postgres", False, extensions=statistics),
        "template1": DatabaseState("template1", "postgres", False),
        "shop": DatabaseState("shop", "shop_owner", False, GROUPS, statistics, {"public": PUBLIC}),
    }
    return ServerState(roles, databases)


def with_role(state: ServerState, role: RoleState) -> ServerState:
    return replace(state, roles={**state.roles, role.name: role})


def with_public(schema: SchemaState) -> ServerState:
    state = converged()
    shop = replace(state.databases["shop"], schemas={"public": schema})
    return replace(state, databases={**state.databases, "shop": shop})


def steps(state: ServerState, *databases: Any, roles: Any = (), passwords: Any = None) -> list[Action]:
    return plan(state, parse(databases, roles, SHOP_PASSWORDS if passwords is None else passwords))


def told(actions: list[Action]) -> list[str]:
    return [action.description for action in actions]


def test_a_fresh_server_in_an_order_that_works() -> None:
    found = steps(FRESH, SHOP)
    assert told(found) == [
        "create login role shop_owner",
        "create group role shop_app",
        "create group role shop_read",
        "create login role shop_blue",
        "grant shop_app to shop_blue",
        "set the password of shop_owner",
        "set the password of shop_blue",
        "create database shop",
        "revoke connect and temporary on database shop from everybody",
        "grant connect on database shop to shop_app",
        "grant connect on database shop to shop_read",
        "revoke connect and temporary on database postgres from everybody",
        "revoke connect and temporary on database template1 from everybody",
        "grant usage on schema shop.public to shop_app",
        "grant select, insert, update, delete on future tables of shop.public to shop_app",
        "grant usage, select, update on future sequences of shop.public to shop_app",
        "grant usage on schema shop.public to shop_read",
        "grant select on future tables of shop.public to shop_read",
        "grant select on future sequences of shop.public to shop_read",
        "create extension pg_stat_statements in shop",
        "create extension pg_stat_statements in postgres",
    ]
    by_text = {action.description: action for action in found}
    assert by_text["create login role shop_blue"].statement == (
        'CREATE ROLE "shop_blue" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION '
        "NOBYPASSRLS CONNECTION LIMIT 9"
    )
    assert by_text["grant shop_app to shop_blue"].statement == (
        'GRANT "shop_app" TO "shop_blue" WITH INHERIT TRUE, SET FALSE'
    )
    assert not by_text["create database shop"].transactional
    assert by_text["grant usage on schema shop.public to shop_app"].database == "shop"
    assert "TRUNCATE" not in "".join(action.statement for action in found)


def test_nothing_to_do() -> None:
    assert steps(converged(), SHOP) == []


def test_passwords_travel_as_verifiers_and_show_nowhere() -> None:
    found = steps(FRESH, SHOP)
    statements = [action.statement for action in found if action.description.startswith("set the password")]
    assert len(statements) == 2
    assert all("PASSWORD 'SCRAM-SHA-256$4096:" in statement for statement in statements)
    assert PASSWORD not in "".join(action.statement for action in found)
    assert "SCRAM" not in repr(found)
    assert PASSWORD not in repr(parse([SHOP], [], SHOP_PASSWORDS))
    assert "SCRAM" not in repr(converged())


def test_rotation_touches_one_role() -> None:
    found = steps(converged(), SHOP, passwords={**SHOP_PASSWORDS, "shop_blue": "another-long-password"})
    assert told(found) == ["set the password of shop_blue"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"powers": frozenset({"CREATEDB", "BYPASSRLS"})}, ["alter role shop_blue: take BYPASSRLS, take CREATEDB"]),
        ({"login": False}, ["alter role shop_blue: let it log in"]),
        ({"inherit": False}, ["alter role shop_blue: let it inherit"]),
        ({"connection_limit": -1}, ["alter role shop_blue: connection limit -1 -> 9"]),
        ({"verifier": None}, ["set the password of shop_blue"]),
        ({"verifier": "md5abc"}, ["set the password of shop_blue"]),
        ({"member_of": frozenset()}, ["grant shop_app to shop_blue"]),
        (
            {"member_of": frozenset({"shop_read", "pg_read_server_files"})},
            [
                "revoke pg_read_server_files from shop_blue",
                "revoke shop_read from shop_blue",
                "grant shop_app to shop_blue",
            ],
        ),
    ],
)
def test_drift_of_a_login(change: dict[str, Any], expected: list[str]) -> None:
    state = converged()
    assert told(steps(with_role(state, replace(state.roles["shop_blue"], **change)), SHOP)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"owner": "postgres"}, ["make shop_owner the owner of database shop"]),
        ({"public_access": True}, ["revoke connect and temporary on database shop from everybody"]),
        ({"connect": frozenset({"shop_read"})}, ["grant connect on database shop to shop_app"]),
        ({"extensions": frozenset()}, ["create extension pg_stat_statements in shop"]),
    ],
)
def test_drift_of_a_database(change: dict[str, Any], expected: list[str]) -> None:
    state = converged()
    shop = replace(state.databases["shop"], **change)
    assert told(steps(replace(state, databases={**state.databases, "shop": shop}), SHOP)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"owner": "postgres"}, ["make shop_owner the owner of schema shop.public"]),
        ({"owner": "shop_owner"}, []),
        ({"public_create": True}, ["revoke create on schema shop.public from everybody"]),
        ({"usage": frozenset({"shop_app"})}, ["grant usage on schema shop.public to shop_read"]),
        (
            {"default_privileges": {**DEFAULTS, ("shop_app", "TABLES"): frozenset({"SELECT"})}},
            ["grant select, insert, update, delete on future tables of shop.public to shop_app"],
        ),
        (
            {"bare": {("shop_app", "TABLES"): ("a", "b"), ("shop_read", "SEQUENCES"): ("s",)}},
            [
                "grant select, insert, update, delete on shop.public.a to shop_app",
                "grant select, insert, update, delete on shop.public.b to shop_app",
                "grant select on shop.public.s to shop_read",
            ],
        ),
    ],
)
def test_drift_of_a_schema(change: dict[str, Any], expected: list[str]) -> None:
    assert told(steps(with_public(replace(PUBLIC, **change)), SHOP)) == expected


def test_names_of_relations_are_quoted() -> None:
    found = steps(with_public(replace(PUBLIC, bare={("shop_read", "TABLES"): ('x"; DROP TABLE y; --',)})), SHOP)
    assert found[0].statement == 'GRANT SELECT ON TABLE "public"."x""; DROP TABLE y; --" TO "shop_read"'


def test_more_schemas_extensions_and_server_roles() -> None:
    shop = {**SHOP, "schemas": ["public", "audit"], "extensions": ["pgcrypto", "pg_stat_statements"]}
    role = {"name": "watcher", "member_of": ["pg_monitor"], "databases": ["postgres", "shop"]}
    found = told(steps(converged(), shop, roles=[role]))
    assert "create schema shop.audit" in found
    assert "create extension pgcrypto in shop" in found
    assert found.index("create login role watcher") < found.index("grant pg_monitor to watcher")
    assert "grant connect on database postgres to watcher" in found
    assert "grant connect on database shop to watcher" in found


def test_undeclared_roles_and_databases_are_left_alone() -> None:
    state = with_role(converged(), RoleState("stranger", powers=frozenset({"CREATEDB"})))
    databases = {**state.databases, "theirs": DatabaseState("theirs", "stranger")}
    assert steps(replace(state, databases=databases), SHOP) == []


def test_removal_of_a_login() -> None:
    gone = {**SHOP, "logins": [{"name": "shop_blue", "state": "absent"}]}
    passwords = {"shop_owner": PASSWORD}
    found = steps(converged(), gone, passwords=passwords)
    assert told(found) == [
        "forbid shop_blue to log in",
        "end the sessions of shop_blue",
        "revoke the rights of shop_blue in shop",
        "drop role shop_blue",
    ]
    assert not found[0].transactional
    assert steps(with_role(converged(), RoleState("x")), {**gone, "logins": []}, passwords=passwords) == []


def test_removal_of_a_database_keeps_the_data() -> None:
    found = steps(converged(), {**SHOP, "state": "absent"}, passwords={})
    assert told(found)[-1] == "forbid role shop_owner to log in; database shop is kept"
    assert "drop role shop_blue" in told(found)
    assert not any("DROP DATABASE" in action.statement for action in found)


def test_removal_with_the_data() -> None:
    found = steps(converged(), {**SHOP, "state": "absent", "confirm": "shop"}, passwords={})
    text = told(found)
    assert (
        text.index("drop role shop_blue")
        < text.index("drop database shop with its data")
        < text.index("drop role shop_owner")
    )
    drop = found[text.index("drop database shop with its data")]
    assert (drop.statement, drop.transactional) == ('DROP DATABASE "shop" WITH (FORCE)', False)
    assert steps(FRESH, {**SHOP, "state": "absent", "confirm": "shop"}, passwords={}) == steps(FRESH, passwords={})


@pytest.mark.parametrize(
    ("state", "database", "message"),
    [
        (
            with_role(converged(), RoleState("shop_blue", owns_in=frozenset({"shop"}))),
            {**SHOP, "logins": [{"name": "shop_blue", "state": "absent"}]},
            "shop_blue is to be dropped and owns objects in shop",
        ),
        (
            with_role(converged(), RoleState("shop_owner", owns_in=frozenset({"shop", "theirs"}))),
            {**SHOP, "state": "absent", "confirm": "shop"},
            "shop_owner is to be dropped and owns objects in theirs too",
        ),
        (
            with_role(converged(), RoleState("shop_blue", powers=frozenset({"SUPERUSER"}))),
            SHOP,
            "shop_blue is a superuser",
        ),
    ],
)
def test_what_would_do_harm_is_refused(state: ServerState, database: dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        steps(state, database, passwords={})


@pytest.mark.parametrize(
    ("database", "passwords", "message"),
    [
        ({"name": "Shop"}, {}, "databases.Shop: 'Shop' must be lower-case"),
        ({"name": "postgres"}, {}, "is PostgreSQL's own"),
        ({"name": "shop", "owner": "pg_shop"}, {}, "databases.shop.owner: 'pg_shop' is PostgreSQL's own"),
        ({"name": "s" * 59}, {}, "at most 58"),
        ({"name": "shop", "extensions": ["a;b"]}, {}, "is no name of an extension"),
        ({"name": "shop", "logins": [{"name": "x", "access": "all"}]}, {}, "must be app or read"),
        ({"name": "shop", "state": "absent", "confirm": "shpo"}, {}, "only the database's own name"),
        ({"name": "shop", "confirm": "shop"}, {}, "belongs to state absent"),
        ({"name": "shop", "logins": [{"name": "shop_app"}]}, {}, "role 'shop_app' is used more than once"),
        ({"name": "shop"}, {"shop_owner": "short"}, "has fewer than 16 characters"),
        ({"name": "shop"}, {"nobody": PASSWORD}, "no owner, login or role of this name"),
        ({"name": ""}, {}, r"databases\[0\].name: is missing"),
    ],
)
def test_mistakes_are_sentences(database: dict[str, Any], passwords: dict[str, str], message: str) -> None:
    with pytest.raises(LayoutError, match=message) as caught:
        parse([database], [], passwords)
    assert not any(password in str(caught.value) for password in passwords.values())


def test_all_mistakes_at_once() -> None:
    with pytest.raises(LayoutError) as caught:
        parse([{"name": "A"}, {"name": "B"}], [{"name": "C"}], {"x": "y"})
    assert len(caught.value.problems) >= 5


INPUTS: dict[str, Any] = {
    "databases": [SHOP],
    "roles": [],
    "passwords": SHOP_PASSWORDS,
    "clients": [{"databases": ["shop"], "users": ["shop_blue"], "addresses": ["10.0.0.7", "10.1.0.0/24"]}],
    "peers": [],
    "listen_addresses": ["10.0.0.5"],
    "public_listen_allowed": False,
    "settings": {},
    "memory_bytes": 0,
    "memory_fraction": 0.25,
    "memory_total_megabytes": 4096,
    "processors": 2,
    "max_connections": 100,
    "storage": "ssd",
}


def test_good_inputs() -> None:
    assert input_problems(INPUTS) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"passwords": {"shop_owner": PASSWORD}}, "postgresql_passwords.shop_blue: is missing"),
        ({"clients": [{"databases": ["x"], "users": ["shop_blue"], "addresses": ["10.0.0.7"]}]}, "'x' is not declared"),
        ({"clients": [{"databases": ["shop"], "users": ["x"], "addresses": ["10.0.0.7"]}]}, "'x' is no owner, login"),
        ({"clients": [{"databases": ["shop"], "users": ["shop_blue"], "addresses": []}]}, "addresses: is empty"),
        ({"peers": [{"user": "root", "role": "x"}]}, "'x' is no owner, login or role that is declared"),
        ({"peers": [{"user": "a b", "role": "shop_blue"}]}, "'a b' is no name of a system user"),
        ({"memory_fraction": 0.0}, "must be above 0"),
        ({"memory_fraction": 0.01}, "and needs 256 MB"),
        ({"settings": {"port": 1}}, "postgresql_settings.port"),
        ({"databases": [{"name": "A"}]}, "postgresql_databases.A"),
    ],
)
def test_inputs_with_mistakes(change: dict[str, Any], message: str) -> None:
    assert any(message in problem for problem in input_problems({**INPUTS, **change}))


def test_a_peer_needs_no_password() -> None:
    change = {"passwords": {"shop_owner": PASSWORD}, "peers": [{"user": "exporter", "role": "shop_blue"}]}
    assert input_problems({**INPUTS, **change}) == []


def test_logins_to_prove() -> None:
    role = {"name": "watcher", "databases": ["postgres", "shop"]}
    found = logins([SHOP], [role], {**SHOP_PASSWORDS, "watcher": PASSWORD})
    assert [(login["user"], login["database"]) for login in found] == [
        ("shop_owner", "shop"),
        ("shop_blue", "shop"),
        ("watcher", "postgres"),
        ("watcher", "shop"),
    ]


@pytest.mark.parametrize(
    ("address", "public", "networks", "bad"),
    [
        ("10.0.0.5", False, False, False),
        ("127.0.0.1", False, False, False),
        ("100.64.0.1", False, False, False),
        ("fd00::1", False, False, False),
        ("8.8.8.8", False, False, True),
        ("8.8.8.8", True, False, False),
        ("0.0.0.0", True, False, True),
        ("::", True, False, True),
        ("*", False, False, True),
        ("10.0.0.0/24", False, False, True),
        ("10.0.0.0/24", False, True, False),
        ("0.0.0.0/0", True, True, True),
        ("10.0.0.1/24", True, True, True),
    ],
)
def test_addresses(address: str, public: bool, networks: bool, bad: bool) -> None:
    assert bool(list(address_problems([address], public, networks))) is bad


def test_quoting() -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("a'b") == "'a''b'"


class FakeConnection:
    """Remembers what was run and whether it was committed."""

    def __init__(self, journal: list[str], database: str, fail_on: str) -> None:
        self.journal, self.database, self.fail_on, self.autocommit = journal, database, fail_on, False

    def cursor(self) -> FakeConnection:
        return self

    def execute(self, statement: str) -> None:
        if statement == self.fail_on:
            raise RuntimeError(statement)
        self.journal.append(f"{self.database}{'!' if self.autocommit else ''}: {statement}")

    def commit(self) -> None:
        self.journal.append(f"{self.database}: commit")

    def rollback(self) -> None:
        self.journal.append(f"{self.database}: rollback")

    def close(self) -> None:
        self.journal.append(f"{self.database}: close")


ACTIONS = [
    Action("one", "1"),
    Action("two", "2"),
    Action("three", "3", transactional=False),
    Action("four", "4", "shop"),
]


def test_neighbours_share_a_transaction() -> None:
    journal: list[str] = []
    done: list[str] = []
    Catalogue(lambda database: FakeConnection(journal, database, "")).carry_out(ACTIONS, done)
    assert journal == [
        "postgres: 1",
        "postgres: 2",
        "postgres: commit",
        "postgres: close",
        "postgres!: 3",
        "postgres: close",
        "shop: 4",
        "shop: commit",
        "shop: close",
    ]
    assert done == ["one", "two", "three", "four"]


def test_what_failed_is_not_reported_as_done() -> None:
    journal: list[str] = []
    done: list[str] = []
    with pytest.raises(RuntimeError):
        Catalogue(lambda database: FakeConnection(journal, database, "2")).carry_out(ACTIONS, done)
    assert done == []
    assert journal == ["postgres: 1", "postgres: close"]
