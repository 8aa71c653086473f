# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The app spec: the contract between an app and the platform. The fields here are its only description."""

# ruff: noqa: RUF009 - key() only wraps dataclasses.field()
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.signalbox.platform.plugins.module_utils import _spec_grammar as grammar
from ansible_collections.signalbox.platform.plugins.module_utils._spec_fields import (
    Argv,
    Choice,
    Expression,
    Integer,
    ListOf,
    MapOf,
    Number,
    Text,
    key,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_section import SecretEntry, Section

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What a column gets in the copy of a database for staging; docs/backup.md describes each.
MASKING = ("keep", "clear", "pseudonym", "email", "filler", "digits", "noise")
DATABASE_URL = "postgresql://{user}:{password}@{host}:{port}/{name}"
CACHE_URL = "rediss://{user}:{password}@{host}:{port}/0"
# A stream may end this long after the moment it should have, before a drain gives up.
DRAIN_MARGIN_SECONDS = 30

_PATH = Text((grammar.http_path,), "starts with /")


@dataclass(frozen=True)
class Health:
    """The health gate."""

    path: str = key(_PATH, "Path that answers 200 when the app can serve.")
    expect: str = key(Expression(), "Must be true of the JSON body.", default="")
    version: str = key(Expression(False), "Gives the running version from the JSON body.", default="version")
    consecutive: int = key(Integer(1, 100), "Good answers in a row that open the gate.", default=3, unit="answers")
    interval_seconds: float = key(Number(0, 60, True), "Pause between two questions.", default=1.0, unit="s")
    timeout_seconds: float = key(Number(0, 60, True), "How long one answer may take.", default=5.0, unit="s")
    deadline_seconds: int = key(
        Integer(1, 3600), "After this the gate fails; more than consecutive * interval_seconds.", default=60, unit="s"
    )
    settle_seconds: float = key(
        Number(0, 600), "How long a new container must stay good after that, for apps that die soon after their start.",
        default=6.0, unit="s",
    )  # fmt: skip
    latency_limit_milliseconds: int = key(
        Integer(1, 60000), "A slower answer does not count as good.", default=1000, unit="ms"
    )


@dataclass(frozen=True)
class SmokeCheck:
    """One request to the idle slot, through the edge, before traffic moves."""

    path: str = key(_PATH, "Path to ask.")
    method: str = key(Choice(METHODS), "HTTP method.", default="GET")
    status: int = key(Integer(100, 599), "Status that the answer must have.", default=200)
    expect: str = key(Expression(), "Must be true of the JSON body.", default="")
    body: str = key(Text(), "Body to send, as it is.", default="")
    headers: Mapping[str, str] = key(
        MapOf(Text((grammar.one_line,)), (grammar.header_name,), "header", "no Host"), "Headers to send.", default={}
    )


@dataclass(frozen=True)
class Streams:
    """Long answers."""

    max_seconds: int = key(
        Integer(1, 86400), "How long a response or a WebSocket may last: sets proxy timeouts.", default=300, unit="s"
    )


@dataclass(frozen=True)
class Drain:
    """Emptying a slot."""

    deadline_seconds: int = key(
        Integer(1, 90000),
        "How long to wait for requests in flight; at least streams.max_seconds.",
        default=0,
        default_doc="streams.max_seconds + 30",
        unit="s",
    )


@dataclass(frozen=True)
class Bake:
    """The time after a cutover in which a breach moves traffic back by itself."""

    seconds: int = key(Integer(1, 86400), "How long to watch.", default=60, unit="s")
    max_error_rate: float = key(
        Number(0, 1), "Share of failed requests (5xx or no answer) that is a breach when exceeded.", default=0.01
    )
    max_p99_milliseconds: int = key(
        Integer(1, 600000), "99th percentile of latency that is a breach when exceeded.", default=5000, unit="ms"
    )
    min_requests: int = key(
        Integer(0, 1000000), "Below this many requests there is no verdict.", default=20, unit="requests"
    )


@dataclass(frozen=True)
class Limits:
    """What the edge lets through."""

    body_bytes: int = key(Integer(1024, 10 * 1024**3), "Largest request body.", default=10485760, unit="bytes")
    requests_per_second: int = key(
        Integer(0, 100000), "Requests per second and client address; 0 is no limit.", default=0, unit="1/s"
    )
    burst: int = key(
        Integer(0, 100000), "Requests above the rate that are still taken; needs a rate.", default=0, unit="requests"
    )


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database of the app's own."""

    env: str = key(Text((grammar.env_name,), "letters, digits, _"), "Environment variable that gets the URL.")
    url: str = key(
        Text(
            (grammar.url_template(("user", "password", "host", "port", "name"), DATABASE_URL),),
            "all of {user} {password} {host} {port} {name}, no password",
            secret=True,
        ),
        "Template of the URL.",
    )
    name: str = key(
        Text((grammar.database_name,), "up to 57 of a-z, 0-9, _"),
        "Name of the database.",
        default="",
        default_doc="app name, - as _",
    )
    extensions: tuple[str, ...] = key(
        ListOf(Text((grammar.extension_name,)), unique=True), "PostgreSQL extensions to create.", default=()
    )
    masking: Mapping[str, Mapping[str, str]] = key(
        MapOf(MapOf(Choice(MASKING), (grammar.column_name,), "column"), (grammar.table_name,), "table"),
        "What each column of each table gets in a copy for staging; {} for a table of which no rows come.",
        default={},
    )


@dataclass(frozen=True)
class Cache:
    """Redis users of the app's own."""

    env: str = key(Text((grammar.env_name,), "letters, digits, _"), "Environment variable that gets the URL.")
    url: str = key(
        Text(
            (grammar.url_template(("user", "password", "host", "port"), CACHE_URL),),
            "all of {user} {password} {host} {port}, no password",
            secret=True,
        ),
        "Template of the URL.",
        default=CACHE_URL,
    )


@dataclass(frozen=True)
class Secret:
    """How a secret comes about; without `generate` its value is put in by hand."""

    generate: int = key(
        Integer(16, 512), "Length of a value to generate.", default=0, default_doc="not generated", unit="characters"
    )


@dataclass(frozen=True)
class Tls:
    """The certificate that the edges serve for the app's domains."""

    source: str = key(
        Choice(("authority", "acme", "given")),
        "The platform's own authority; a public one, asked by the edge with ACME; or the two files below.",
        default="authority",
    )
    certificate_path: str = key(
        Text((grammar.file_path,), "control node; absolute or from the inventory's directory", secret=True),
        "PEM file with the certificate, then its chain.",
        default="",
    )
    key_path: str = key(
        Text((grammar.file_path,), "as above; ansible-vault may encrypt it", secret=True),
        "PEM file with the certificate's key.",
        default="",
    )


@dataclass(frozen=True)
class Clients:
    """Keys of the app's clients, checked at the edge: they can be rotated while the app keeps the one key it knows."""

    secret: str = key(
        Text((grammar.env_name,), "one of secrets"), "Secret that holds the app's own key; clients never see it."
    )
    header: str = key(
        Text((grammar.client_key_header,), "letters, digits, -"),
        "Header with the client's key; the app gets its own key in it.",
        default="X-API-Key",
    )
    overlap_seconds: int = key(
        Integer(1, 31536000),
        "How long the former key is accepted beside the new one after a rotation.",
        default=86400,
        unit="s",
    )
    open_paths: tuple[str, ...] = key(
        ListOf(Text((grammar.open_path,), "whole paths, no query"), unique=True),
        "Paths that need no key, beside health.path.",
        default=(),
    )


@dataclass(frozen=True)
class Migrations:
    """Schema migrations, run once per release in the new image."""

    tool: str = key(Choice(("alembic", "commands")), "Tool; `commands` needs the four commands below.")
    current: tuple[str, ...] = key(
        Argv(), "Prints the revision of the database.", default=(), default_doc="alembic current"
    )
    heads: tuple[str, ...] = key(Argv(), "Prints the image's newest revision.", default=(), default_doc="alembic heads")
    upgrade: tuple[str, ...] = key(
        Argv(), "Migrates to the newest revision.", default=(), default_doc="alembic upgrade head"
    )
    downgrade: tuple[str, ...] = key(
        Argv("{revision}"), "Goes back to a revision.", default=(), default_doc="alembic downgrade {revision}"
    )
    plan: tuple[str, ...] = key(
        Argv(),
        "Prints as SQL what `upgrade` would run, for plan_migration.yml; with Alembic it is asked itself.",
        default=(),
        default_doc="none",
    )
    checks: tuple[str, ...] = key(
        ListOf(Text((grammar.check_query,), "one SELECT")),
        "Queries that return no row when the data is whole; run after a migration, as the owner, and cannot write.",
        default=(),
    )
    timeout_seconds: int = key(
        Integer(1, 86400), "How long a command may run, all attempts together.", default=600, unit="s"
    )
    lock_timeout_seconds: int = key(
        Integer(1, 600), "How long a statement may wait for a lock; at most timeout_seconds.", default=5, unit="s"
    )
    lock_attempts: int = key(
        Integer(1, 20), "How many times `upgrade` runs at most while it cannot have a lock.", default=5
    )
    statement_timeout_seconds: int = key(
        Integer(1, 86400),
        "How long one statement may run; at most timeout_seconds.",
        default=0,
        default_doc="timeout_seconds",
        unit="s",
    )


@dataclass(frozen=True)
class Resources:
    """Limits of each container."""

    cpus: float = key(Number(0, 1024, True), "Processors.", default=1.0, unit="CPUs")
    memory: str = key(Text((grammar.memory,), "64m to 1024g"), "Memory, in Docker's notation.", default="512m")
    pids: int = key(Integer(16, 4194304), "Processes and threads.", default=512)


@dataclass(frozen=True)
class Metrics:
    """Prometheus metrics of the app."""

    path: str = key(_PATH, "Path of the metrics.", default="/metrics")


@dataclass(frozen=True)
class Objectives:
    """What the app's users may expect; alerts go by how fast the rest, the error budget, is used up."""

    availability_percent: float = key(
        Number(50, 99.999),
        "Share of requests that do not fail (5xx, or no answer), over 30 days.",
        default=99.9,
        unit="%",
    )


@dataclass(frozen=True)
class App:
    """One deployable API. Its name is the key that the spec stands under."""

    image: str = key(Text((grammar.image,), "no tag, no digest"), "Image repository; the release adds the version.")
    port: int = key(Integer(1, 65534), "Port of slot blue on the app hosts; green has the next one.")
    domains: tuple[str, ...] = key(
        ListOf(Text((grammar.host_name,), "host name by RFC 1123"), 1, unique=True), "Names the app answers to."
    )
    health: Health = key(Section(Health), "The health gate.")
    tls: Tls = key(Section(Tls), "Where the app's certificate comes from.", default=Tls())
    name: str = ""
    container_port: int = key(
        Integer(1, 65535), "Port the app listens on in its container.", default=0, default_doc="port"
    )
    smoke: tuple[SmokeCheck, ...] = key(
        ListOf(Section(SmokeCheck)), "Requests to the idle slot before traffic moves.", default=()
    )
    streams: Streams = key(Section(Streams), "Long answers.", default=Streams())
    drain: Drain = key(Section(Drain), "Emptying a slot.", default=Drain())
    bake: Bake = key(Section(Bake), "The watch after a cutover.", default=Bake())
    keepalive_seconds: int = key(
        Integer(16, 3600), "Keep-alive of the app; the edge closes 15 s earlier.", default=75, unit="s"
    )
    limits: Limits = key(Section(Limits), "What the edge lets through.", default=Limits())
    sticky: str = key(
        Text((grammar.sticky,), "address, cookie:NAME, header:NAME"),
        "What keeps a client on one slot while weights are split.",
        default="address",
    )
    environment: Mapping[str, str] = key(
        MapOf(Text((grammar.plain_value,)), (grammar.env_name,), "NAME", "no PORT, no SIGNALBOX_*"),
        "Plain environment; values are texts, so quote numbers.",
        default={},
    )
    secrets: Mapping[str, Secret] = key(
        MapOf(SecretEntry(Section(Secret, null_is_empty=True)), (grammar.env_name,), "NAME"),
        "Secret environment, by name only.",
        default={},
    )
    clients: Clients | None = key(Section(Clients, True), "Keys of the app's clients.", default=None)
    database: Database | None = key(Section(Database, True), "PostgreSQL database.", default=None)
    cache: Cache | None = key(Section(Cache, True), "Redis.", default=None)
    migrations: Migrations | None = key(Section(Migrations, True), "Schema migrations; need a database.", default=None)
    resources: Resources = key(Section(Resources), "Limits of each container.", default=Resources())
    metrics: Metrics | None = key(Section(Metrics, True), "Prometheus metrics.", default=None)
    objectives: Objectives = key(Section(Objectives), "Service level objectives.", default=Objectives())
    stop_timeout_seconds: int = key(Integer(1, 3600), "Time between SIGTERM and SIGKILL.", default=30, unit="s")

    @property
    def slot_ports(self) -> dict[str, int]:
        return {"blue": self.port, "green": self.port + 1}
