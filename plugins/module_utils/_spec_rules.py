# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Rules over more than one key of an app, and over more than one app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import MARKER
from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import Problem, Reading, did_you_mean
from ansible_collections.signalbox.platform.plugins.module_utils._spec_model import App

PLATFORM_PORTS = {
    22: "SSH",
    80: "HTTP at the edge",
    443: "HTTPS at the edge",
    5000: "the registry",
    5432: "PostgreSQL",
    6379: "Redis",
    6432: "PgBouncer",
    8200: "Vault",
    8201: "Vault",
}
# The slot's environment sets these itself; the authority's file only where there is a database.
_OWN_VARIABLES = ("PORT",)
_OWN_PREFIX = "SIGNALBOX_"
_OWN_DATABASE_VARIABLES = ("PGSSLROOTCERT",)
# Names under which the platform keeps an app's own credentials, beside its secrets.
_OWN_SECRETS = (
    *("database_owner", "database_blue", "database_green", "cache_blue", "cache_green"),
    "client_key",
)
_BODYLESS = ("GET", "HEAD")
_COMMANDS = ("current", "heads", "upgrade", "downgrade")


def check_app(app: App, path: str, reading: Reading) -> None:
    """Rules of one app. A rule over a key that was refused already stays silent."""
    for rule in (_health, _tls, _streams, _edge_limits, _smoke, _clients, _migrations, _port, _environment):
        for problem, keys in rule(app, path):
            if not reading.touches(*(f"{path}.{name}" for name in keys)):
                reading.add(problem.path, problem.what, problem.remedy)


Finding = tuple[Problem, tuple[str, ...]]


def _health(app: App, path: str) -> Iterator[Finding]:
    health = app.health
    least = health.consecutive * health.interval_seconds
    if health.deadline_seconds <= least:
        answers = f"{health.consecutive} answers every {health.interval_seconds:g} s"
        what = f"is {health.deadline_seconds} s, and {answers} take {least:g} s"
        remedy = f"Write more than {least:g}, or lower health.consecutive or health.interval_seconds"
        keys = ("health.deadline_seconds", "health.consecutive", "health.interval_seconds")
        yield Problem(path + ".health.deadline_seconds", what, remedy), keys


def _tls(app: App, path: str) -> Iterator[Finding]:
    for name in ("certificate_path", "key_path"):
        where, written = f"tls.{name}", bool(getattr(app.tls, name))
        if app.tls.source == "given" and not written:
            remedy = "Write the path of the PEM file on the control node"
            yield Problem(f"{path}.{where}", "is missing, and tls.source is given", remedy), (where, "tls.source")
        elif app.tls.source != "given" and written:
            what = f"has no effect, as tls.source is {app.tls.source}"
            yield Problem(f"{path}.{where}", what, "Write source: given, or leave the path out"), (where, "tls.source")


def _streams(app: App, path: str) -> Iterator[Finding]:
    if app.drain.deadline_seconds < app.streams.max_seconds:
        longest = app.streams.max_seconds
        what = (
            f"is {app.drain.deadline_seconds} s, less than streams.max_seconds ({longest} s): a drain would cut streams"
        )
        remedy = f"Write at least {app.streams.max_seconds}, or leave the key out"
        keys = ("drain.deadline_seconds", "streams.max_seconds")
        yield Problem(path + ".drain.deadline_seconds", what, remedy), keys


def _edge_limits(app: App, path: str) -> Iterator[Finding]:
    if app.limits.burst and not app.limits.requests_per_second:
        keys = ("limits.burst", "limits.requests_per_second")
        what = f"is {app.limits.burst} without a rate"
        yield Problem(path + ".limits.burst", what, "Set limits.requests_per_second too, or leave the key out"), keys


def _smoke(app: App, path: str) -> Iterator[Finding]:
    for index, check in enumerate(app.smoke):
        where = f"smoke[{index}]"
        if check.body and check.method in _BODYLESS:
            what = f"is sent with {check.method}, which carries none"
            yield (
                Problem(f"{path}.{where}.body", what, "Write method: POST, or leave the body out"),
                (where,),
            )
        if check.expect and check.method == "HEAD":
            what = "has no body to look at: the answer to HEAD is empty"
            yield Problem(f"{path}.{where}.expect", what, "Write method: GET"), (where,)


def _clients(app: App, path: str) -> Iterator[Finding]:
    clients = app.clients
    if clients is not None and clients.secret not in app.secrets:
        what = f"names {clients.secret}, which is not one of the app's secrets"
        remedy = did_you_mean(clients.secret, tuple(app.secrets), "secrets")
        if not app.secrets:
            remedy = f"Add {clients.secret} to secrets: {{generate: 48}}"
        yield Problem(path + ".clients.secret", what, remedy), ("clients.secret", "secrets")


def _migrations(app: App, path: str) -> Iterator[Finding]:
    migrations = app.migrations
    if migrations is None:
        return
    if app.database is None:
        what, remedy = "has no database to migrate", "Describe the app's database, or leave migrations out"
        yield Problem(path + ".migrations", what, remedy), ("migrations", "database")
    if migrations.tool == "commands":
        for name in _COMMANDS:
            if not getattr(migrations, name):
                where = f"migrations.{name}"
                what = "is missing, and tool is commands"
                yield Problem(f"{path}.{where}", what, _command_remedy(name)), (where, "migrations.tool")
    for name in ("lock_timeout_seconds", "statement_timeout_seconds"):
        seconds = getattr(migrations, name)
        if seconds > migrations.timeout_seconds:
            where = f"migrations.{name}"
            what = f"is {seconds} s, more than timeout_seconds ({migrations.timeout_seconds} s)"
            keys = (where, "migrations.timeout_seconds")
            yield Problem(f"{path}.{where}", what, "Write a smaller number"), keys


def _command_remedy(name: str) -> str:
    ending = " with {revision} in it" if name == "downgrade" else ""
    return f"Write the command as a list of texts{ending}"


def _port(app: App, path: str) -> Iterator[Finding]:
    for slot, port in app.slot_ports.items():
        if port in PLATFORM_PORTS:
            what = f"puts slot {slot} on {port}, the port of {PLATFORM_PORTS[port]}"
            remedy = "Choose another pair of ports, such as 54000 and 54001"
            yield Problem(path + ".port", what, remedy), ("port",)


def _environment(app: App, path: str) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name, where in _variables(app):
        taken = name in _OWN_VARIABLES or name.startswith(_OWN_PREFIX)
        if taken or (app.database is not None and name in _OWN_DATABASE_VARIABLES):
            what = f"defines {name}, which the platform sets itself"
            yield Problem(f"{path}.{where}", what, "Choose another name, or leave it out"), (where,)
        elif name in first:
            what = f"defines {name} a second time: {first[name]} defines it too"
            yield Problem(f"{path}.{where}", what, "Leave one of the two out"), (where, first[name])
        first.setdefault(name, where)
    for name, value in app.environment.items():
        if MARKER in str(value):
            what = f"holds {MARKER}...}}, with which the platform marks values that a host fetches from Vault"
            remedy = f"List the secret under secrets, whose value becomes the variable {name}, or write other text"
            yield Problem(f"{path}.environment.{name}", what, remedy), (f"environment.{name}",)
    for name in app.secrets:
        if name in _OWN_SECRETS:
            what = "is a name under which the platform keeps its own credentials"
            yield Problem(f"{path}.secrets.{name}", what, "Choose another name"), ()


def _variables(app: App) -> Iterator[tuple[str, str]]:
    for name in app.environment:
        yield name, f"environment.{name}"
    for name in app.secrets:
        yield name, f"secrets.{name}"
    if app.database is not None and app.database.env:
        yield app.database.env, "database.env"
    if app.cache is not None and app.cache.env:
        yield app.cache.env, "cache.env"


def check_together(apps: Mapping[str, App], root: str, reading: Reading) -> None:
    """Rules over all apps: ports, domains and databases belong to one app each."""
    ports: dict[int, str] = {}
    domains: dict[str, str] = {}
    databases: dict[str, str] = {}
    for name, app in apps.items():
        path = f"{root}.{name}"
        if not reading.refused(path + ".port"):
            _claim_ports(app, path, ports, apps, reading)
        for index, domain in enumerate(app.domains):
            owner = domains.setdefault(domain, name)
            if owner != name:
                where = f"{path}.domains[{index}]"
                reading.add(where, f"{domain} belongs to {owner} already", "Give each app its own names")
        if app.database is not None and app.database.name:
            owner = databases.setdefault(app.database.name, name)
            if owner != name:
                what = f"{app.database.name} is the database of {owner} already"
                reading.add(path + ".database.name", what, "Give each app a database of its own")


def _claim_ports(app: App, path: str, ports: dict[int, str], apps: Mapping[str, App], reading: Reading) -> None:
    wanted = list(app.slot_ports.values())
    clashes = [port for port in wanted if port in ports]
    if clashes:
        owner = apps[ports[clashes[0]]]
        theirs = f"{owner.name} has {owner.port} and {owner.port + 1}"
        what = f"{app.port} gives the slots {wanted[0]} and {wanted[1]}, and {theirs}"
        reading.add(path + ".port", what, f"Write {_free_port(app, apps)}, which is free")
        return
    ports.update(dict.fromkeys(wanted, app.name))


def _free_port(wanting: App, apps: Mapping[str, App]) -> int:
    others = [app for app in apps.values() if app is not wanting]
    used = {*PLATFORM_PORTS, *(port for app in others for port in app.slot_ports.values())}
    candidates = (*range(wanting.port, 65535), *range(1024, wanting.port))
    return next((port for port in candidates if port not in used and port + 1 not in used), 54000)
