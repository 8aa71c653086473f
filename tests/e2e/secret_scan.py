"""Every secret that the lab has now, and a search for them in every place where none may be."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

from driver import Driver

# Where a value may be in clear: memory of its owner, as long as the owner runs or may be started; and a host's key of a
# certificate in its own file.
OWN_MEMORY = re.compile(
    r"^/run/(signalbox/|credentials/|redis/|signalbox-(edge|redis|vault|postgresql|backup)/)"  # root's or the service's
    r"|^/etc/signalbox/tls/[a-z0-9._-]+\.key$"
)
# What stands beside a secret in the same credential, and is none.
NO_SECRETS = ("role", "role_id", "secret_id_accessor")

# Reads patterns on standard input and keeps them in memory; prints every place where one stands.
SEARCH = r"""
p=$(mktemp -p /dev/shm); trap 'rm -f $p' EXIT; cat >$p
found() { timeout 20 grep -qaFf $p "$@" 2>/dev/null; }
# Of the top alone, and no links: whatever else is called proc, sys or dev is searched like any other directory.
find / -mindepth 1 -maxdepth 1 \( -type d -o -type f \) ! -path /proc ! -path /sys -print0 |
    xargs -0 grep -raFl --devices=skip --exclude=${p##*/} -f $p 2>/dev/null
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
    """Name -> value: what the slots of every app host run with, what the operator reads, and what hosts keep sealed."""
    found = {
        f"{host} {slot} {name}": value
        for host in driver.group("app")
        for slot in ("blue", "green")
        for name, value in _environment(host, slot).items()
    }
    names = ["agent-api/client_key", "registry/pull", "registry/push", "redis/monitor"]
    names += ["backup/cipher"] if driver.group("backup") else []
    found.update({name: driver.secret(*name.split("/")) for name in names})
    found["database owner"] = _owner_password(driver.group("app")[0])
    for host in driver.group("all"):
        found.update(_sealed(host))
        found.update(_keys(host))
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


def _owner_password(host: str) -> str:
    """Of the login that migrates: nothing keeps it, and a host may ask for it."""
    sources = {"owner": {"kind": "database", "role": "agent_api_owner"}}
    said = on(host, "/usr/local/libexec/signalbox/host-vault", "fetch", stdin=json.dumps(sources))
    return str(json.loads(said)["owner"])


def _sealed(host: str) -> dict[str, str]:
    """What the host keeps sealed: secret ids, the seal's key, the backup's passphrase, passwords of the kept state."""
    script = (
        "for path in /etc/credstore.encrypted/signalbox-*; do name=${path##*/}; [ -f $path ] || continue; "
        'echo "$name $(systemd-creds decrypt --quiet --name=$name $path - | base64 -w 0)"; done'
    )
    found = {}
    for line in on(host, "bash", "-c", script).splitlines():
        name, _, encoded = line.partition(" ")
        content = base64.b64decode(encoded)
        assert content, f"{host}: {name} could not be opened"
        try:
            known = json.loads(content)
        except ValueError:
            known = None
        if isinstance(known, dict):
            found.update({f"{host} {name} {key}": str(text) for key, text in known.items() if key not in NO_SECRETS})
        else:
            found[f"{host} {name}"] = content.decode() if content.isascii() else encoded
    return found


def _keys(host: str) -> dict[str, str]:
    """A line of each certificate's key that no other key has: what stands before it is the same in all of them."""
    text = on(host, "bash", "-c", 'for path in /etc/signalbox/tls/*.key; do echo "$path $(sed -n 3p $path)"; done')
    return {f"{host} {path}": line for path, _, line in (one.partition(" ") for one in text.splitlines()) if line}


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
