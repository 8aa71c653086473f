"""Every secret that the lab has now, and a search for them in every place where none may be."""

from __future__ import annotations

import re
import subprocess
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

from driver import Driver

# Where a value may be in clear: memory of its owner, as long as the owner runs or may be started.
OWN_MEMORY = re.compile(
    r"^/run/(signalbox/|signalbox-edge/|credentials/|redis/|signalbox-redis/)"  # tmpfs, root's or the service's own
)

# Reads patterns on standard input and keeps them in memory; prints every place where one stands.
SEARCH = r"""
p=$(mktemp -p /dev/shm); trap 'rm -f $p' EXIT; cat >$p
found() { timeout 20 grep -qaFf $p "$@" 2>/dev/null; }
grep -raoFl --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev -f $p / 2>/dev/null
for file in /proc/[0-9]*/cmdline; do found $file && echo $file; done
for file in /proc/[0-9]*/fd/*; do
    case $(readlink $file) in *'(deleted)') found $file && echo "$file (deleted)" ;; esac
done
journalctl --no-pager --all --output=export 2>/dev/null | found - && echo journal
if command -v docker >/dev/null; then
    docker ps --all --quiet | xargs --no-run-if-empty docker inspect | found - && echo docker-inspect
fi
true
"""


def known_secrets(driver: Driver) -> dict[str, str]:
    """Name -> value: what the slots of every app host run with, and what the operator can read."""
    found = {
        f"{host} {slot} {name}": value
        for host in driver.group("app")
        for slot in ("blue", "green")
        for name, value in _environment(host, slot).items()
    }
    for scope, name in (("agent-api", "client_key"), ("registry", "pull"), ("registry", "push"), ("redis", "monitor")):
        found[f"{scope}/{name}"] = driver.secret(scope, name)
    return {name: value for name, value in found.items() if len(value) >= 16}


def _environment(host: str, slot: str) -> dict[str, str]:
    text = on(host, "cat", f"/run/signalbox/apps/agent-api/{slot}.env", check=False)
    values = dict(re.findall(r"^(?:export )?(\w+)='?(.*?)'?$", text, re.MULTILINE))
    secret = {name: values[name] for name in ("API_KEY",) if name in values}
    for name in ("DATABASE_URL", "REDIS_URL"):
        password = urllib.parse.urlsplit(values.get(name, "")).password
        if password:
            secret[name] = urllib.parse.unquote(password)
    return secret


def on(host: str, *command: str, stdin: str | None = None, check: bool = True) -> str:
    """What a command prints on a lab host."""
    done = subprocess.run(
        ["docker", "exec", "-i", f"signalbox-{host}", *command],
        input=stdin, capture_output=True, text=True, check=check, errors="replace",
    )  # fmt: skip
    return done.stdout


def places(host: str, values: Iterable[str]) -> list[str]:
    """Where on the host any of the values stands in clear, other than its owner's memory."""
    patterns = "\n".join(values)
    found = on(host, "bash", "-c", SEARCH, stdin=patterns).split("\n")
    return sorted(place for place in found if place and not OWN_MEMORY.match(place))


def readable_by_others(host: str, values: Iterable[str]) -> list[str]:
    """Files of the host in which an unprivileged user reads any of the values."""
    search = "grep -rlF -f - /etc /var/lib /var/log /run /home /tmp /proc/*/cmdline 2>/dev/null || true"
    command = ["docker", "exec", "-i", "--user", "nobody", f"signalbox-{host}", "sh", "-c", search]
    done = subprocess.run(command, input="\n".join(values), capture_output=True, text=True, check=True)
    return done.stdout.split()


def in_files(folder: Path, values: Mapping[str, str]) -> list[str]:
    """Files below a folder of the control node in which any of the values stands."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files, f"{folder} is empty: nothing was searched"
    return [str(path.relative_to(folder)) for path in files if in_text(path.read_text(errors="replace"), values)]


def in_text(text: str, values: Mapping[str, str]) -> list[str]:
    """Names of the values that stand in a text."""
    return [name for name, value in values.items() if value in text]
