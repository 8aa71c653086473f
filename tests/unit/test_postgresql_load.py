"""A masked copy in a database's place, on a made-up server: which names it may take, and what a failure leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _postgresql_load as loads
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_load import Load, Refused

ORIGIN = {
    "system_identifier": "1",
    "database": "club",
    "bytes": 1000,
    "extensions": ["citext"],
    "backup": "20261123F",
    "target": "latest",
    "masked": [
        {"table": "people", "rows": 3, "partitioned": False, "columns": {}},
        {"table": "shop.events", "rows": 5, "partitioned": True, "columns": {}},
    ],
}
NAME = r'"([^"]+)"'


@dataclass
class Server:
    """Databases with their comments. `fails` is a pattern: the first statement that matches is refused."""

    databases: dict[str, str] = field(default_factory=lambda: {"club": "the club's own"})
    counts: dict[str, int] = field(default_factory=lambda: {'ONLY "public"."people"': 3, '"shop"."events"': 5})
    fails: str = ""
    said: list[str] = field(default_factory=list)
    ran: list[Sequence[str]] = field(default_factory=list)
    code: int = 0

    def connect(self, database: str) -> Connection:
        return Connection(self)

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        self.ran.append(command)
        if command[-1] == "plain":
            return 0, "", ""
        if "--file=-" in command:
            return 0, "COPY ...\n" + json.dumps(ORIGIN) + "\n\\.\n", ""
        return self.code, "", "pg_restore: error: it does not fit" if self.code else ""

    @property
    def load(self) -> Load:
        return Load(self.connect, self.run, "/bin", "/run/postgresql", 5432)


class Connection:
    def __init__(self, server: Server) -> None:
        self.server, self.autocommit = server, True
        self.now = dict(server.databases)
        self.answer: list[tuple[Any, ...]] = []

    def cursor(self) -> Connection:
        return self

    def commit(self) -> None:
        self.server.databases = self.now

    def close(self) -> None:
        pass

    def fetchone(self) -> Any:
        return self.answer[0] if self.answer else None

    def fetchall(self) -> Any:
        return self.answer

    def execute(self, statement: str, values: Any = None) -> None:
        if "pg_terminate_backend" in statement:
            return  # by the other thread, at any time
        self.server.said.append(statement)
        if self.server.fails and re.search(self.server.fails, statement):
            raise RuntimeError(statement)
        if statement == loads._COMMENT:
            self.answer = [(self.now[values["name"]],)] if values["name"] in self.now else []
        elif statement == loads._LIKE:
            self.answer = [(f'CREATE DATABASE "{values["fresh"]}"', "club_owner")]
        elif statement == loads._SERVER:
            self.answer = [("2", "/")]
        elif statement == loads._SIZE:
            self.answer = [(0,)]
        elif found := re.match(r"SELECT count\(\*\) FROM (.*)", statement):
            self.answer = [(self.server.counts[found[1]],)]
        else:
            self._change(statement)
            if self.autocommit:
                self.commit()

    def _change(self, statement: str) -> None:
        if found := re.match(f"CREATE DATABASE {NAME}", statement):
            assert found[1] not in self.now
            self.now[found[1]] = ""
        elif found := re.match(f"DROP DATABASE IF EXISTS {NAME}", statement):
            self.now.pop(found[1], None)
        elif found := re.match(f"COMMENT ON DATABASE {NAME} IS '(.*)'", statement, re.DOTALL):
            assert found[1] in self.now
            self.now[found[1]] = found[2].replace("''", "'")
        elif found := re.match(f"ALTER DATABASE {NAME} RENAME TO {NAME}", statement):
            assert found[2] not in self.now
            self.now[found[2]] = self.now.pop(found[1])


@pytest.fixture
def server() -> Server:
    return Server()


def test_the_copy_is_loaded_beside_and_then_exchanged(server: Server) -> None:
    load = server.load
    load.check(load.origin("/copy"), "club")
    assert load.load("/copy", ORIGIN, "club") == {"people": 3, "shop.events": 5}
    assert server.databases == {"club": "the club's own", "club_new": loads.loaded("club")}
    load.exchange("club")
    assert server.databases == {
        "club": "the club's own",
        "club_old": f"{loads.former('club')}\nthe club's own",
    }
    assert any("--role=club_owner" in command for command in server.ran)
    assert "DROP SCHEMA signalbox_masked CASCADE" in server.said
    # Once more, which removes the former one.
    load.load("/copy", ORIGIN, "club")
    assert "club_old" not in server.databases
    load.exchange("club")
    assert set(server.databases) == {"club", "club_old"}


def test_what_was_there_comes_back_and_goes_again(server: Server) -> None:
    load = server.load
    load.load("/copy", ORIGIN, "club")
    load.exchange("club")
    server.databases["club"] = "the copy"
    load.undo("club")
    assert server.databases == {"club": "the club's own", "club_old": f"{loads.former('club')}\nthe copy"}
    load.undo("club")
    assert server.databases == {"club": "the copy", "club_old": f"{loads.former('club')}\nthe club's own"}


@pytest.mark.parametrize("name", ["club_new", "club_old"])
@pytest.mark.parametrize("comment", ["", "of the app club-new", loads.incoming("club_new"), loads.former("clu")])
def test_another_apps_database_of_that_name_is_never_touched(server: Server, name: str, comment: str) -> None:
    server.databases[name] = comment
    before = dict(server.databases)
    for act in (
        lambda: server.load.check(ORIGIN, "club"),
        lambda: server.load.load("/copy", ORIGIN, "club"),
        lambda: server.load.exchange("club"),
        lambda: server.load.undo("club"),
    ):
        with pytest.raises(Refused, match="no former run has marked"):
            act()
    assert server.databases == before


@pytest.mark.parametrize("step", ["REVOKE", "CREATE EXTENSION", "ANALYZE", "count", "DROP SCHEMA", "complete"])
def test_a_copy_that_cannot_be_loaded_leaves_nothing(server: Server, step: str) -> None:
    server.fails = step
    with pytest.raises(RuntimeError):
        server.load.load("/copy", ORIGIN, "club")
    assert server.databases == {"club": "the club's own"}


def test_a_copy_with_other_rows_leaves_nothing(server: Server) -> None:
    server.counts['ONLY "public"."people"'] = 2
    with pytest.raises(Refused, match="people has 2 rows, and 3 were masked"):
        server.load.load("/copy", ORIGIN, "club")
    assert server.databases == {"club": "the club's own"}


def test_what_pg_restore_says_is_told(server: Server) -> None:
    server.code = 1
    with pytest.raises(Refused, match="it does not fit; club is as it was"):
        server.load.load("/copy", ORIGIN, "club")
    assert server.databases == {"club": "the club's own"}


@pytest.mark.parametrize("step", ['"club" RENAME', '"club_new" RENAME', "COMMENT"])
def test_an_exchange_that_fails_or_is_killed_anywhere_changes_nothing(server: Server, step: str) -> None:
    server.load.load("/copy", ORIGIN, "club")
    before = dict(server.databases)
    server.fails = step
    with pytest.raises(RuntimeError):
        server.load.exchange("club")
    assert server.databases == before
    # No statement outside the transaction changed what serves: a kill at any of them leaves it open.
    assert not any("ALLOW_CONNECTIONS" in statement or "CONNECTION LIMIT" in statement for statement in server.said)


def test_only_a_whole_copy_is_exchanged(server: Server) -> None:
    with pytest.raises(Refused, match="no copy was loaded"):
        server.load.exchange("club")
    server.databases["club_new"] = loads.incoming("club")  # a run was killed while it loaded
    with pytest.raises(Refused, match="no copy was loaded"):
        server.load.exchange("club")
    with pytest.raises(Refused, match="there is no club_old"):
        server.load.undo("club")
    assert server.load.load("/copy", ORIGIN, "club")["people"] == 3


@pytest.mark.parametrize(
    ("origin", "database", "words"),
    [
        ({"system_identifier": "2"}, "club", "the database server that the copy was taken of"),
        ({"database": "other"}, "club", "the copy is one of other"),
        ({"database": "none"}, "none", "there is no database none"),
        ({"database": "c" * 60}, "c" * 60, "too long a name"),
        ({"bytes": 1 << 60}, "club", "MiB are wanted"),
    ],
)
def test_what_cannot_be_is_known_before_anything_changes(
    server: Server, origin: dict[str, Any], database: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        server.load.check({**ORIGIN, **origin}, database)
    assert server.databases == {"club": "the club's own"}


def test_a_plain_dump_is_no_masked_copy(server: Server) -> None:
    with pytest.raises(Refused, match="does not say that it was masked"):
        server.load.origin("plain")
