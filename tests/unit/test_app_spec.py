"""The app spec: what it accepts, what it refuses and with which words, and the shape it hands on."""

from __future__ import annotations

import copy
import datetime
import re
from pathlib import Path
from typing import Any

import jmespath
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import (
    SpecError,
    normalise,
    normalise_apps,
    parse_apps,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import Reading, lay_out
from ansible_collections.signalbox.platform.plugins.module_utils._spec_expressions import default_compiler
from ansible_collections.signalbox.platform.plugins.module_utils._spec_model import App
from ansible_collections.signalbox.platform.plugins.module_utils._spec_section import keys_of

CHECKOUT = Path(__file__).resolve().parents[2]
DELETE: Any = object()
GIVEN = {"source": "given", "certificate_path": "tls/a.crt"}
KEY = "-----BEGIN PRIVATE KEY-----\nhunter2\n"
URL = "postgresql+asyncpg://{user}:{password}@{host}:{port}/{name}"

GOOD = yaml.safe_load(
    f"""
agent-api:
  image: registry.example.com:5000/team/agent-api
  port: 54000
  domains: [api.example.com]
  health: {{path: /health, expect: "status == 'ok'"}}
  smoke:
    - {{path: /, expect: "service == 'agent-api'"}}
    - {{path: /v1/echo, method: POST, body: '{{}}', headers: {{Content-Type: application/json}}}}
  environment: {{LOG_LEVEL: info}}
  secrets: {{API_KEY: {{generate: 48}}, WEBHOOK_KEY: {{}}}}
  database: {{env: DATABASE_URL, url: "{URL}"}}
  clients: {{secret: API_KEY}}
  cache: {{env: REDIS_URL}}
  migrations: {{tool: alembic}}
  metrics: {{path: /metrics}}
web:
  image: registry.example.com/web
  port: 54010
  domains: [www.example.com]
  health: {{path: /up}}
"""
)


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The good specs with values set, or deleted, at dotted paths below agent-api; `/` starts at the top."""
    specs = copy.deepcopy(GOOD)
    for path, value in changes:
        top = path.startswith("/")
        place: Any = specs if top else specs["agent-api"]
        *parents, last = path.lstrip("/").split(".")
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        if value is DELETE:
            del place[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return specs


# What is changed; the path of the mistake (below agent-api unless it starts with /); words of the message.
CASES: list[tuple[str, list[tuple[str, Any]], str, list[str]]] = [
    ("no key image", [("image", DELETE)], "image", ["missing", "Image repository"]),
    ("no key domains", [("domains", DELETE)], "domains", ["missing"]),
    ("no health path", [("health", {})], "health.path", ["missing", "/"]),
    ("spec is null", [("/agent-api", None)], "", ["empty", "mapping", "image, port, domains, health"]),
    ("spec is a list", [("/agent-api", ["image"])], "", ["a list, not a mapping"]),
    ("unknown key", [("healht", {"path": "/"}), ("health", DELETE)], "healht", ["known key", "Did you mean health?"]),
    ("unknown key below", [("health.deadline", 60)], "health.deadline", ["Did you mean deadline_seconds?"]),
    ("version in the spec", [("version", "1.0")], "version", ["known key", "-e version"]),
    ("name in the spec", [("name", "agent-api")], "name", ["the key that the spec stands under"]),
    ("slot ports in the spec", [("slot_ports", {})], "slot_ports", ["green has port + 1"]),
    ("word of another tool", [("env", {})], "env", ["Did you mean environment?"]),
    ("key that is a number", [("/agent-api", {**GOOD["agent-api"], 8080: 1})], "8080", ["not a known key"]),
    ("app name of a service", [("/redis", GOOD["web"])], "/redis", ["service of the platform", "redis-api"]),
    ("app name with underscore", [("/agent_api", GOOD["web"])], "/agent_api", ["app name", "hyphens"]),
    ("app name ends in hyphen", [("/api-", GOOD["web"])], "/api-", ["no hyphen last"]),
    ("app name too long", [("/" + "a" * 33, GOOD["web"])], "/" + "a" * 33, ["2 to 32"]),
    ("image with tag", [("image", "registry:5000/api:1.0")], "image", ["tag 1.0", "registry:5000/api:"]),
    ("image with digest", [("image", "r.example.com/api@sha256:00")], "image", ["digest", "r.example.com/api"]),
    ("image with scheme", [("image", "https://r.example.com/api")], "image", ["scheme", "r.example.com/api"]),
    ("image with capitals", [("image", "r.example.com/API")], "image", ["lower case"]),
    ("port is a boolean", [("port", True)], "port", ["boolean true", "whole number"]),
    ("port in quotes", [("port", "54000")], "port", ["'54000'", "quotes away: 54000"]),
    ("port too high", [("port", 65535)], "port", ["65535", "65534"]),
    ("port with fraction", [("port", 54000.0)], "port", ["54000.0", "Write 54000"]),
    ("port of the registry", [("port", 5000)], "port", ["the registry", "54000"]),
    ("green on PostgreSQL", [("port", 5431)], "port", ["slot green on 5432", "PostgreSQL"]),
    ("green on Vault", [("port", 8199)], "port", ["slot green on 8200", "Vault"]),
    ("ports overlap", [("/web.port", 54001)], "/web.port", ["agent-api has 54000 and 54001", "54002, which is free"]),
    ("container port", [("container_port", 0)], "container_port", ["is 0", "65535"]),
    ("domains is a text", [("domains", "api.example.com")], "domains", ["not a list", "[api.example.com]"]),
    ("domains is empty", [("domains", [])], "domains", ["empty list", "at least 1"]),
    ("domain with scheme", [("domains.0", "https://api.example.com/")], "domains[0]", ["scheme", ": api.example.com"]),
    ("domain with port", [("domains.0", "api.example.com:443")], "domains[0]", ["port", ": api.example.com"]),
    ("domain with capitals", [("domains.0", "API.example.com")], "domains[0]", ["capital", "api.example.com"]),
    ("domain is a wildcard", [("domains.0", "*.example.com")], "domains[0]", ["wildcard", "every name"]),
    ("domain with underscore", [("domains.0", "my_api.example.com")], "domains[0]", ["RFC 1123"]),
    ("domain is an address", [("domains.0", "10.0.0.1")], "domains[0]", ["address"]),
    ("domain outside ASCII", [("domains.0", "bücher.example")], "domains[0]", ["ASCII", "xn--bcher-kva.example"]),
    ("label too long", [("domains.0", "a" * 64 + ".example.com")], "domains[0]", ["63"]),
    ("domain twice", [("domains", ["a.example", "a.example"])], "domains[1]", ["twice"]),
    ("domain of another app", [("/web.domains.0", "api.example.com")], "/web.domains[0]", ["belongs to agent-api"]),
    ("path without slash", [("health.path", "health")], "health.path", ["slash", "/health"]),
    ("path is a URL", [("health.path", "http://localhost/health")], "health.path", ["URL", "path alone"]),
    ("path with space", [("metrics.path", "/my metrics")], "metrics.path", ["spaces"]),
    ("expression is broken", [("health.expect", "status ==")], "health.expect", ["JMESPath", "status == 'ok'"]),
    ("expression with one =", [("health.expect", "status = 'ok'")], "health.expect", ["two equals signs"]),
    (
        "expression with quotes",
        [("health.expect", 'status == "ok"')],
        "health.expect",
        ["field", "single quotes: 'ok'"],
    ),
    ("expression with and", [("health.expect", "a == 'b' and c")], "health.expect", ["&&"]),
    ("expression with number", [("smoke.0.expect", "count == 3")], "smoke[0].expect", ["backquotes"]),
    (
        "unknown function",
        [("health.expect", "lenght(a) == `1`")],
        "health.expect",
        ["lenght()", "did you mean length()"],
    ),
    ("expression is a boolean", [("health.expect", True)], "health.expect", ["boolean true", "quotes"]),
    ("version expression empty", [("health.version", "")], "health.version", ["blank"]),
    ("no consecutive answers", [("health.consecutive", 0)], "health.consecutive", ["is 0", "1 to 100"]),
    ("interval of zero", [("health.interval_seconds", 0)], "health.interval_seconds", ["is 0", "above 0"]),
    ("interval is not a number", [("health.interval_seconds", float("nan"))], "health.interval_seconds", [".nan"]),
    ("timeout is infinite", [("health.timeout_seconds", float("inf"))], "health.timeout_seconds", [".inf", "60"]),
    ("timeout with unit", [("health.timeout_seconds", "5s")], "health.timeout_seconds", ["'5s'", "number"]),
    ("deadline with unit", [("health.deadline_seconds", "60s")], "health.deadline_seconds", ["number alone", "unit"]),
    (
        "deadline too early",
        [("health", {"path": "/", "consecutive": 10, "interval_seconds": 6.0})],
        "health.deadline_seconds",
        ["10 answers every 6 s take 60 s", "more than 60"],
    ),
    ("tls of an unknown source", [("tls.source", "letsencrypt")], "tls.source", ["'letsencrypt'", "acme"]),
    ("given without a key", [("tls", GIVEN)], "tls.key_path", ["missing", "path of the PEM file"]),
    ("a path that is not given", [("tls.key_path", "a.key")], "tls.key_path", ["no effect", "source: given"]),
    ("a key for a path", [("tls", {**GIVEN, "key_path": KEY})], "tls.key_path", ["belongs in a file", "its path"]),
    ("smoke is a mapping", [("smoke", {"path": "/"})], "smoke", ["mapping, not a list"]),
    ("method misspelt", [("smoke.0.method", "GETT")], "smoke[0].method", ["'GETT'", "Did you mean GET?"]),
    ("status out of range", [("smoke.0.status", 600)], "smoke[0].status", ["600", "100 to 599"]),
    ("body with GET", [("smoke.0.body", "x")], "smoke[0].body", ["GET", "POST"]),
    ("expectation of HEAD", [("smoke.0.method", "HEAD")], "smoke[0].expect", ["HEAD", "GET"]),
    ("Host header", [("smoke.1.headers", {"Host": "x"})], "smoke[1].headers.Host", ["sets itself"]),
    ("header in two lines", [("smoke.1.headers", {"A": "x\ny"})], "smoke[1].headers.A", ["line break"]),
    ("streams too long", [("streams.max_seconds", 100000)], "streams.max_seconds", ["100000", "86400"]),
    ("drain before streams", [("drain.deadline_seconds", 60)], "drain.deadline_seconds", ["cut streams", "least 300"]),
    ("error rate in percent", [("bake.max_error_rate", 1.5)], "bake.max_error_rate", ["1.5", "0 to 1"]),
    ("error rate in quotes", [("bake.max_error_rate", "0.01")], "bake.max_error_rate", ["quotes away: 0.01"]),
    ("bake of zero", [("bake.seconds", 0)], "bake.seconds", ["is 0", "1 to"]),
    ("keep-alive too short", [("keepalive_seconds", 15)], "keepalive_seconds", ["is 15", "16"]),
    ("body limit with unit", [("limits.body_bytes", "10m")], "limits.body_bytes", ["'10m'", "number alone"]),
    ("burst without rate", [("limits.burst", 5)], "limits.burst", ["without a rate", "requests_per_second"]),
    ("sticky unknown", [("sticky", "session")], "sticky", ["stickiness", "cookie:NAME"]),
    ("environment is a list", [("environment", ["A=1"])], "environment", ["not a mapping", "NAME: value"]),
    ("octal mode", [("environment.MODE", 0o644)], "environment.MODE", ["420", "octal"]),
    ("yes in the environment", [("environment.DEBUG", True)], "environment.DEBUG", ["boolean true", "yes"]),
    ("1.10 as a number", [("environment.API", 1.10)], "environment.API", ["1.1", "1.10"]),
    ("a date", [("environment.DAY", datetime.date(2026, 1, 2))], "environment.DAY", ["date 2026-01-02", "quotes"]),
    ("null in the environment", [("environment.A", None)], "environment.A", ["empty", '""']),
    ("bad variable name", [("environment", {"LOG-LEVEL": "a"})], "environment.LOG-LEVEL", ["LOG_LEVEL"]),
    ("name is a digit first", [("environment", {"9X": "a"})], "environment.9X", ["no digit first", "_9X"]),
    ("password in environment", [("environment.P", "amqp://me:pw1@h/")], "environment.P", ["password", "secrets"]),
    ("PORT is the platform's", [("environment.PORT", "1")], "environment.PORT", ["PORT", "platform"]),
    ("Vault's marker", [("environment.A", "x${signalbox:K}")], "environment.A", ["from Vault", "under secrets"]),
    ("SIGNALBOX_ likewise", [("secrets.SIGNALBOX_X", {})], "secrets.SIGNALBOX_X", ["SIGNALBOX_X", "another name"]),
    ("PGSSLROOTCERT likewise", [("environment.PGSSLROOTCERT", "/x")], "environment.PGSSLROOTCERT", ["platform"]),
    ("variable twice", [("secrets.LOG_LEVEL", {})], "secrets.LOG_LEVEL", ["second time", "environment.LOG_LEVEL"]),
    ("URL variable twice", [("cache.env", "DATABASE_URL")], "cache.env", ["second time", "database.env"]),
    ("secret as a text", [("secrets.API_KEY", "hunter2")], "secrets.API_KEY", ["the secret itself", "vault file"]),
    ("secret as a value", [("secrets.API_KEY", {"value": "hunter2"})], "secrets.API_KEY", ["secret itself", "vault"]),
    ("secret too short", [("secrets.API_KEY.generate", 8)], "secrets.API_KEY.generate", ["is 8", "16 to 512"]),
    ("secret too long", [("secrets.API_KEY.generate", 513)], "secrets.API_KEY.generate", ["513", "512"]),
    ("clients without a secret", [("clients", {})], "clients.secret", ["missing"]),
    ("clients of no secret", [("clients.secret", "API_KEE")], "clients.secret", ["API_KEE", "Did you mean API_KEY?"]),
    ("clients of no secrets", [("secrets", {}), ("clients", {"secret": "K"})], "clients.secret", ["Add K to secrets"]),
    ("clients by Authorization", [("clients.header", "Authorization")], "clients.header", ["scheme", "X-API-Key"]),
    ("clients by a header of ours", [("clients.header", "X-Forwarded-For")], "clients.header", ["another meaning"]),
    ("clients by underscores", [("clients.header", "X_API_KEY")], "clients.header", ["underscores"]),
    ("no overlap", [("clients.overlap_seconds", 0)], "clients.overlap_seconds", ["is 0", "1 to 31536000"]),
    ("open path with query", [("clients.open_paths", ["/a?b"])], "clients.open_paths[0]", ["query", "path alone"]),
    ("open path as a pattern", [("clients.open_paths", ["/docs/*"])], "clients.open_paths[0]", ["pattern", "whole"]),
    ("open path with a dollar", [("clients.open_paths", ["/a$b"])], "clients.open_paths[0]", ["percent-encoded"]),
    ("open path without slash", [("clients.open_paths", ["docs"])], "clients.open_paths[0]", ["slash", "/docs"]),
    ("open path twice", [("clients.open_paths", ["/a", "/a"])], "clients.open_paths[1]", ["twice"]),
    ("secret of the platform", [("secrets.cache_blue", {})], "secrets.cache_blue", ["own credentials"]),
    ("database is a text", [("database", "postgres")], "database", ["not a mapping", "or null"]),
    ("URL without env", [("database", {"url": URL})], "database.env", ["missing"]),
    (
        "URL lacks placeholders",
        [("database.url", "pg://{user}:{password}@{host}/{name}")],
        "database.url",
        ["lacks {port}"],
    ),
    ("URL with a password", [("database.url", "pg://app:hunter2@{host}")], "database.url", ["carries a password"]),
    (
        "URL with a password in its query",
        [("database.url", URL + "?password=hunter2")],
        "database.url",
        ["carries a password"],
    ),
    ("unknown placeholder", [("database.url", URL + "{hots}")], "database.url", ["{hots}", "Did you mean host?"]),
    ("URL with Jinja", [("database.url", "pg://{{ user }}")], "database.url", ["doubled braces", "single"]),
    ("unbalanced brace", [("database.url", "pg://{user")], "database.url", ["unbalanced"]),
    ("placeholder with a format", [("database.url", "pg://{user!r}")], "database.url", ["format"]),
    ("no scheme", [("cache.url", "{user}:{password}@{host}:{port}")], "cache.url", ["not a URL", "rediss://"]),
    (
        "name in a cache URL",
        [("cache.url", "rediss://{user}:{password}@{host}:{port}/{name}")],
        "cache.url",
        ["{name}"],
    ),
    ("database name", [("database.name", "agent-api")], "database.name", ["database name", "underscores"]),
    ("PostgreSQL's own database", [("database.name", "postgres")], "database.name", ["PostgreSQL itself"]),
    (
        "masking method",
        [("database.masking", {"people": {"name": "hash"}})],
        "database.masking.people.name",
        ["filler"],
    ),
    ("masked table", [("database.masking", {"peo ple": {}})], "database.masking.peo ple", ["schema"]),
    ("extension name", [("database.extensions", ["uuid ossp"])], "database.extensions[0]", ["extension"]),
    (
        "database of another app",
        [("/web.database", {"env": "DB", "url": URL, "name": "agent_api"})],
        "/web.database.name",
        ["database of agent-api"],
    ),
    ("unknown tool", [("migrations.tool", "alembik")], "migrations.tool", ["'alembik'", "Did you mean alembic?"]),
    ("migrations, no database", [("database", None)], "migrations", ["no database"]),
    ("commands are missing", [("migrations", {"tool": "commands"})], "migrations.current", ["tool is commands"]),
    (
        "command for a shell",
        [("migrations.upgrade", "alembic -x a upgrade head")],
        "migrations.upgrade",
        ["[alembic, -x"],
    ),
    ("empty command", [("migrations.upgrade", [])], "migrations.upgrade", ["empty list", "[alembic, upgrade, head]"]),
    ("number in a command", [("migrations.upgrade", ["alembic", 1])], "migrations.upgrade[1]", ["number 1", "quotes"]),
    (
        "downgrade to nothing",
        [("migrations.downgrade", ["alembic", "downgrade"])],
        "migrations.downgrade",
        ["{revision}"],
    ),
    (
        "lock after timeout",
        [("migrations", {"tool": "alembic", "timeout_seconds": 4})],
        "migrations.lock_timeout_seconds",
        ["4 s"],
    ),
    (
        "a check that writes",
        [("migrations.checks", ["DELETE FROM sessions"])],
        "migrations.checks[0]",
        ["not a query", "no row when all is well"],
    ),
    (
        "two checks in one",
        [("migrations.checks", ["SELECT 1; DROP TABLE sessions"])],
        "migrations.checks[0]",
        ["more than one statement"],
    ),
    (
        "statement after timeout",
        [("migrations", {"tool": "alembic", "statement_timeout_seconds": 601})],
        "migrations.statement_timeout_seconds",
        ["601 s", "600 s"],
    ),
    ("no processor", [("resources.cpus", 0)], "resources.cpus", ["is 0", "above 0"]),
    ("cpus in quotes", [("resources.cpus", "0.5")], "resources.cpus", ["quotes away: 0.5"]),
    ("memory as a number", [("resources.memory", 512)], "resources.memory", ["number 512", "text"]),
    ("memory of Kubernetes", [("resources.memory", "512Mi")], "resources.memory", ["512Mi", ": 512m"]),
    ("memory too small", [("resources.memory", "32m")], "resources.memory", ["32m", "64m"]),
    ("pids", [("resources.pids", 1)], "resources.pids", ["is 1", "16"]),
    ("stop timeout", [("stop_timeout_seconds", 0)], "stop_timeout_seconds", ["is 0", "1 to 3600"]),
    (
        "no failure at all",
        [("objectives", {"availability_percent": 100})],
        "objectives.availability_percent",
        ["99.999"],
    ),
    ("metrics is true", [("metrics", True)], "metrics", ["boolean true", "mapping"]),
    ("an empty section", [("health", None)], "health", ["empty", "mapping"]),
]


def test_table_is_long_enough() -> None:
    assert len({(tuple(map(str, changes)), path) for _name, changes, path, _words in CASES}) >= 60
    assert len({name for name, *_rest in CASES}) == len(CASES)


@pytest.mark.parametrize(("changes", "path", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_mistakes(changes: list[tuple[str, Any]], path: str, words: list[str]) -> None:
    apps, problems = parse_apps(changed(*changes), default_compiler())
    where = "signalbox_apps." + (path[1:] if path.startswith("/") else ".".join(filter(None, ("agent-api", path))))
    found = [problem for problem in problems if problem.path == where]
    assert found, f"nothing at {where}: {problems}"
    for problem in problems:
        assert problem.what
        assert problem.remedy
        assert "\n" not in problem.what + problem.remedy
        assert "hunter2" not in problem.what + problem.remedy
        assert "pw1" not in problem.what + problem.remedy
    text = "; ".join(f"{problem.what} {problem.remedy}" for problem in found)
    assert [word for word in words if word not in text] == [], text
    assert where.split(".")[1] not in apps


# Mistakes that bring a second one of their own: two rules broken at once, or one thing needed in several places.
SEVERAL = {"commands are missing": 4, "URL with a password": 1, "migrations, no database": 1}


@pytest.mark.parametrize(("name", "changes"), [case[:2] for case in CASES], ids=[case[0] for case in CASES])
def test_one_mistake_is_reported_once(name: str, changes: list[tuple[str, Any]]) -> None:
    _apps, problems = parse_apps(changed(*changes), default_compiler())
    # An app added under a bad name repeats the ports and the domain of the one it was copied from.
    expected = 3 if name.startswith("app name") else SEVERAL.get(name, 1)
    assert len(problems) == expected, problems


def test_good_specs_have_no_mistakes() -> None:
    apps, problems = parse_apps(GOOD, default_compiler())
    assert problems == []
    assert list(apps) == ["agent-api", "web"]
    assert apps["agent-api"].slot_ports == {"blue": 54000, "green": 54001}


def test_all_mistakes_of_all_apps_at_once() -> None:
    specs = changed(("port", "x"), ("image", "A"), ("/web.port", 22), ("/web.smoke", [{"path": "x", "status": 1}]))
    _apps, problems = parse_apps(specs)
    assert [problem.path.removeprefix("signalbox_apps.") for problem in problems] == [
        "agent-api.image",
        "agent-api.port",
        "web.smoke[0].path",
        "web.smoke[0].status",
        "web.port",
    ]


def test_an_app_without_mistakes_survives_another_with_some() -> None:
    apps, _problems = parse_apps(changed(("port", "x")))
    assert list(apps) == ["web"]


def test_no_apps_are_no_mistake() -> None:
    assert parse_apps({}) == ({}, [])


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_anything_but_a_mapping_is_a_mistake(value: Any) -> None:
    apps, problems = parse_apps(value)
    assert apps == {}
    assert [problem.path for problem in problems] == ["signalbox_apps"]


def test_without_a_compiler_expressions_are_taken_as_they_are() -> None:
    assert parse_apps(changed(("health.expect", "a = 1")))[1] == []
    assert parse_apps(changed(("health.expect", "a = 1")), jmespath.compile)[1] != []


SHAPE: dict[str, Any] = {
    "name": str,
    "image": str,
    "port": int,
    "container_port": int,
    "slot_ports": {"blue": int, "green": int},
    "domains": list,
    "health": {
        "path": str,
        "expect": str,
        "version": str,
        "consecutive": int,
        "interval_seconds": float,
        "timeout_seconds": float,
        "deadline_seconds": int,
        "settle_seconds": float,
        "latency_limit_milliseconds": int,
    },
    "tls": {"source": str, "certificate_path": str, "key_path": str},
    "smoke": list,
    "streams": {"max_seconds": int},
    "drain": {"deadline_seconds": int},
    "bake": {"seconds": int, "max_error_rate": float, "max_p99_milliseconds": int, "min_requests": int},
    "keepalive_seconds": int,
    "limits": {"body_bytes": int, "requests_per_second": int, "burst": int},
    "sticky": str,
    "environment": dict,
    "secrets": dict,
    "clients": {"secret": str, "header": str, "overlap_seconds": int, "open_paths": list},
    "database": {"env": str, "url": str, "name": str, "extensions": list, "masking": dict},
    "cache": {"env": str, "url": str},
    "migrations": {
        "tool": str,
        "current": list,
        "heads": list,
        "upgrade": list,
        "downgrade": list,
        "plan": list,
        "checks": list,
        "timeout_seconds": int,
        "lock_timeout_seconds": int,
        "lock_attempts": int,
        "statement_timeout_seconds": int,
    },
    "resources": {"cpus": float, "memory": str, "pids": int},
    "metrics": {"path": str},
    "objectives": {"availability_percent": float},
    "stop_timeout_seconds": int,
}


def assert_shape(value: Any, shape: Any) -> None:
    if isinstance(shape, dict):
        assert set(value) == set(shape)
        for name, inner in shape.items():
            assert_shape(value[name], inner)
    else:
        assert type(value) is shape


def assert_plain(value: Any) -> None:
    assert value is None or type(value) in (dict, list, str, int, float, bool)
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            assert_plain(inner)


def test_normalised_shape_and_defaults() -> None:
    specs = normalise_apps(GOOD, default_compiler())
    full = specs["agent-api"]
    assert_plain(specs)
    assert_shape(full, SHAPE)
    assert_shape(
        full["smoke"][0], {"path": str, "method": str, "status": int, "expect": str, "body": str, "headers": dict}
    )
    assert full["drain"] == {"deadline_seconds": 330}
    assert full["container_port"] == 54000
    assert full["secrets"] == {"API_KEY": {"generate": 48}, "WEBHOOK_KEY": {}}
    assert full["clients"] == {
        "secret": "API_KEY",
        "header": "X-API-Key",
        "overlap_seconds": 86400,
        "open_paths": [],
    }
    assert full["database"]["name"] == "agent_api"
    assert full["cache"]["url"] == "rediss://{user}:{password}@{host}:{port}/0"
    assert full["migrations"]["upgrade"] == ["alembic", "upgrade", "head"]
    assert full["migrations"]["statement_timeout_seconds"] == full["migrations"]["timeout_seconds"] == 600
    assert full["migrations"]["downgrade"] == ["alembic", "downgrade", "{revision}"]
    assert full["bake"] == {
        "seconds": 60,
        "max_error_rate": 0.01,
        "max_p99_milliseconds": 5000,
        "min_requests": 20,
    }
    bare = specs["web"]
    assert [bare[name] for name in ("clients", "database", "cache", "migrations", "metrics")] == [None] * 5
    assert (bare["environment"], bare["secrets"], bare["smoke"]) == ({}, {}, [])


def test_defaults_are_not_shared_between_apps() -> None:
    first, second = (normalise(app) for app in parse_apps(changed(("smoke", [])))[0].values())
    first["smoke"].append("x")
    assert second["smoke"] == []


def test_one_error_lists_every_mistake() -> None:
    with pytest.raises(SpecError) as error:
        normalise_apps(changed(("port", True), ("helth", 1)), root="my_apps")
    lines = str(error.value).splitlines()
    assert lines[0] == "my_apps has 2 mistakes:"
    assert lines[1].startswith("- my_apps.agent-api.helth: is not a known key.")
    assert lines[2].startswith("- my_apps.agent-api.port: is the boolean true, not a whole number.")


def test_rules_stay_silent_over_refused_keys() -> None:
    _apps, problems = parse_apps(changed(("streams.max_seconds", "x"), ("drain.deadline_seconds", 1)))
    assert [problem.path for problem in problems] == ["signalbox_apps.agent-api.streams.max_seconds"]


def test_the_same_mistake_is_collected_once() -> None:
    reading = Reading()
    reading.add("a", "b", "c")
    reading.add("a", "b", "c")
    assert lay_out("x", reading.problems) == "x:\n- a: b. c."


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=5)
)
keys = st.text(max_size=8) | st.integers() | st.booleans() | st.none() | st.dates()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


def _names(model: Any) -> list[str]:
    return [item.name for item in keys_of(model)]


def _every_path(model: Any = App, prefix: str = "") -> list[str]:
    found: list[str] = []
    for item in keys_of(model):
        found.append(prefix + item.name)
        inner = getattr(item.metadata["kind"], "model", None)
        if inner is not None:
            found += _every_path(inner, prefix + item.name + ".")
    return found


HUGE = 10**5000  # more digits than Python prints


@pytest.mark.parametrize("path", ["port", "image", "bake.max_error_rate", "domains", "environment.A", "sticky"])
@pytest.mark.parametrize("value", [HUGE, -HUGE, {HUGE: HUGE}, [HUGE], "\x1b[31m\0\ud800" * 99], ids=range(5))
def test_values_that_cannot_be_printed_are_named_all_the_same(path: str, value: Any) -> None:
    _apps, problems = parse_apps(changed((path, value)), default_compiler())
    assert problems
    assert all(text.isprintable() and len(text) < 400 for one in problems for text in (one.path, one.what, one.remedy))


@settings(max_examples=150, deadline=None)
@given(values)
def test_any_value_yields_only_problems(value: Any) -> None:
    _apps, problems = parse_apps(value, default_compiler())
    assert all(problem.path and problem.what and problem.remedy for problem in problems)
    lay_out("x", problems).encode("utf-8", "backslashreplace")


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(_every_path()), values)
def test_any_value_at_any_key_yields_only_problems(path: str, value: Any) -> None:
    apps, problems = parse_apps(changed((path, value)), default_compiler())
    assert all(problem.path and problem.what and problem.remedy for problem in problems)
    for app in apps.values():
        assert_plain(normalise(app))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(_names(App)) | st.text(max_size=6), values, max_size=6))
def test_any_mapping_below_an_app_yields_only_problems(spec: dict[Any, Any]) -> None:
    _apps, problems = parse_apps({"agent-api": spec}, default_compiler())
    assert all(problem.remedy for problem in problems)


def test_reference_is_current() -> None:
    import importlib.util

    script = CHECKOUT / "docs" / "generate_app_spec.py"
    loaded = importlib.util.spec_from_file_location("generate_app_spec", script)
    assert loaded
    assert loaded.loader
    generator = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(generator)
    page = (CHECKOUT / "docs" / "app-spec.md").read_text(encoding="utf-8")
    assert page == generator.renew(page), "run docs/generate_app_spec.py"
    assert all(f"`{path}`" in page for path in _every_path())


def test_examples_of_the_reference_are_valid() -> None:
    page = (CHECKOUT / "docs" / "app-spec.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    specs = [block["signalbox_apps"] for block in blocks if "signalbox_apps" in block]
    assert len(specs) == 2
    for spec in specs:
        assert normalise_apps(spec, default_compiler())
    full = normalise_apps(specs[1])
    written = specs[1][next(iter(full))]
    assert set(written) == set(_names(App)), "the full example shows every key"
