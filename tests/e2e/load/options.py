"""Command line and the options it yields."""

from __future__ import annotations

import argparse
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

PROTOCOLS = ("http1", "https", "h2")
KINDS = ("get", "post", "health")


@dataclass(frozen=True)
class Options:
    targets: tuple[tuple[str, int | None], ...]
    host: str
    protocols: tuple[str, ...] = ("https",)
    plain_port: int | None = None
    ca: str | None = None
    connections: int = 64
    h2_streams: int = 4
    requests: int | None = None
    duration: float | None = None
    rate: float = 0.0
    mix: tuple[tuple[str, int], ...] = (("get", 60), ("post", 35), ("health", 5))
    health_path: str = "/health"
    service: str = "claude-agent-api"
    timeout: float = 10.0
    streams: int = 0
    websockets: int = 0
    stream_seconds: float = 60.0
    stream_interval: float = 1.0
    api_key: str = ""
    api_key_file: Path | None = None
    accept_status: frozenset[int] = frozenset()
    tolerate_errors: bool = False
    check_executions: bool = True
    stop_file: Path | None = None
    report: Path | None = None
    run: str = field(default_factory=lambda: f"load-{secrets.token_hex(6)}")

    def port(self, protocol: str, port: int | None) -> int:
        if protocol == "http1":
            return self.plain_port or port or 80
        return port or 443


Target = tuple[str, int | None]


def _target(text: str) -> Target:
    match = re.fullmatch(r"(?:\[([^]]+)\]|([^:\[\]]+))(?::(\d+))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS or ADDRESS:PORT")
    return match[1] or match[2], int(match[3]) if match[3] else None


def _mix(text: str) -> tuple[tuple[str, int], ...]:
    parts = [part.partition("=") for part in text.split(",")]
    if any(name not in KINDS or not share.isdigit() for name, _, share in parts) or not any(int(p[2]) for p in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not like get=60,post=35,health=5")
    return tuple((name, int(share)) for name, _, share in parts)


def _post_ratio(text: str) -> tuple[tuple[str, int], ...]:
    ratio = float(text)
    if not 0 <= ratio <= 1:
        raise argparse.ArgumentTypeError("a ratio is from 0 to 1")
    posts = round(ratio * 100)
    return (("get", 100 - posts), ("post", posts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("load", description=__doc__)
    add = parser.add_argument
    add("--target", dest="targets", action="append", type=_target, required=True, help="ADDRESS[:PORT], repeatable")
    add("--host", required=True, help="name sent as Host and SNI")
    add("--protocol", dest="protocols", action="append", choices=PROTOCOLS, help="repeatable; default https")
    add("--plain-port", type=int, help="port for http1; default: the target's, or 80")
    add("--ca", help="file with the CA certificate; default: the system's")
    add("--connections", type=int, default=64, help="spread over targets and protocols")
    add("--h2-streams", type=int, default=4, help="requests at a time on one HTTP/2 connection")
    add("--requests", type=int, help="ends the run after so many")
    add("--duration", type=float, help="ends the run after so many seconds")
    add("--stop-file", type=Path, help="ends the run gracefully when this file appears")
    add("--rate", type=float, default=0.0, help="requests per second at most, 0 for no limit")
    mix = parser.add_mutually_exclusive_group()
    mix.add_argument("--mix", type=_mix, default=Options.mix, help="default get=60,post=35,health=5")
    mix.add_argument("--post-ratio", dest="mix", type=_post_ratio, help="share of POSTs, 0 to 1; the rest is GET /")
    add("--health-path", default=Options.health_path)
    add("--service", default=Options.service, help="what GET / must name as its service")
    add("--timeout", type=float, default=10.0, help="seconds for an answer, or between two stream events")
    add("--streams", type=int, default=0, help="SSE streams at a time")
    add("--websockets", type=int, default=0, help="WebSockets at a time")
    add("--stream-seconds", type=float, default=60.0)
    add("--stream-interval", type=float, default=1.0)
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--api-key-env", metavar="NAME", help="environment variable that holds the API key")
    key.add_argument("--api-key-file", type=Path, help="API keys by line, sent in turns; read again when it changes")
    add("--accept-status", type=int, action="append", default=[], help="a status that is no failure, repeatable")
    add("--tolerate-errors", action="store_true", help="report failures, but exit 0")
    add("--no-execution-check", action="store_true", help="do not ask the API how often the POSTs were executed")
    add("--report", type=Path, help="JSON report")
    return parser


def parse(arguments: list[str] | None = None) -> Options:
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    if not (values["requests"] or values["duration"] or values["stop_file"]):
        parser.error("one of --requests, --duration and --stop-file must say when the run ends")
    key_name = values.pop("api_key_env")
    values["api_key"] = os.environ[key_name] if key_name else ""
    values["check_executions"] = not values.pop("no_execution_check")
    values["accept_status"] = frozenset(values["accept_status"])
    values["targets"] = tuple(values["targets"])
    values["protocols"] = tuple(values["protocols"] or ("https",))
    return Options(**values)
