"""Images of the lab: Debian 13, the lab host on top of it, and versions of the reference API."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import engine
from shell import CHECKOUT, STATE, as_root, run, say, stream

BASE = "signalbox/debian:trixie"
HOST = "signalbox/lab-host:trixie"
HOST_SOURCE = CHECKOUT / "lab/image"
API_SOURCE = CHECKOUT / "lab/api"
MACHINE_AUTHORITIES = Path("/usr/local/share/ca-certificates")
# On every image made here: what it was made of. Docker hands it down to build steps, images on top and containers.
LABEL = "platform.signalbox.lab.inputs"
UPSTREAM = "debian:trixie"
# The classic builder keeps its steps as images, which can be found and removed; BuildKit's cache is one for everybody.
BUILD = {**os.environ, "DOCKER_BUILDKIT": "0"}
MIRROR = "http://deb.debian.org/debian"


def exists(name: str) -> bool:
    return run(["docker", "image", "inspect", name], check=False).returncode == 0


def _inputs(name: str) -> str:
    template = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    return run(["docker", "image", "inspect", "-f", template, name], check=False).stdout.strip()


def ensure_base() -> None:
    if _inputs(BASE):
        return
    say(f"fetching {UPSTREAM}")
    was_there = exists(UPSTREAM)
    if was_there or run(["docker", "pull", "-q", UPSTREAM], check=False).returncode == 0:
        command = ["docker", "build", "-t", BASE, "--label", f"{LABEL}={UPSTREAM}", "-"]
        run(command, stdin=f"FROM {UPSTREAM}\n", env=BUILD)
        if not was_there:
            run(["docker", "rmi", UPSTREAM])
        return
    if shutil.which("debootstrap") is None:
        engine.install(["debootstrap"])
    say("no registry in reach: bootstrapping Debian 13 (about a minute)")
    with tempfile.TemporaryDirectory(prefix="signalbox-debian-") as folder:
        root = f"{folder}/root"
        stream(
            as_root(["debootstrap", "--variant=minbase", "--include=ca-certificates", "trixie", root, MIRROR]),
            STATE / "debootstrap.log",
        )
        archive = f"{folder}/root.tar"
        run(as_root(["tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", archive, "."]))
        run(["docker", "import", "--change", f"LABEL {LABEL}={UPSTREAM}", archive, BASE])
        run(as_root(["rm", "-rf", root]))


def ensure_host() -> None:
    ensure_base()
    build(HOST, HOST_SOURCE, {"BASE": BASE})


def ensure_api(version: str, chaos: str = "") -> str:
    """Builds one version of the reference API; `chaos` bakes misbehaviour into it (see lab/api)."""
    ensure_base()
    name = f"signalbox/agent-api:{version}"
    revision = run(["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"], check=False).stdout.strip() or "unknown"
    build(name, API_SOURCE, {"BASE": BASE, "VERSION": version, "REVISION": revision, "CHAOS": chaos})
    return name


def build(name: str, source: Path, arguments: dict[str, str]) -> None:
    """Builds an image unless one of the same content is there."""
    inputs = {key: value for key, value in arguments.items() if key != "REVISION"}
    digest = _digest(source, inputs)
    if _inputs(name) == digest:
        return
    say(f"building {name}")
    with tempfile.TemporaryDirectory(prefix="signalbox-build-") as folder:
        context = Path(folder) / "context"
        shutil.copytree(source, context, symlinks=True)
        # Package indexes behind a private CA: the build trusts what the machine trusts.
        authorities = context / "ca"
        authorities.mkdir(exist_ok=True)
        (authorities / "README").write_text("Certificate authorities of the building machine.\n")
        for certificate in sorted(MACHINE_AUTHORITIES.glob("*.crt")):
            shutil.copy(certificate, authorities)
        command = ["docker", "build", "-t", name, "--label", f"{LABEL}={digest}"]
        for key, value in arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        stream([*command, str(context)], STATE / f"build-{name.replace('/', '-').replace(':', '-')}.log", env=BUILD)


def _digest(source: Path, arguments: dict[str, str]) -> str:
    hashed = hashlib.sha256(repr(sorted(arguments.items())).encode())
    hashed.update(run(["docker", "image", "inspect", "-f", "{{.Id}}", BASE]).stdout.encode())
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            hashed.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()


def push(name: str, registry: str, repository: str, version: str, username: str, password: str) -> None:
    """Pushes to the lab registry through loopback, where Docker accepts the lab's own authority."""
    target = f"{registry}/{repository}:{version}"
    config = str(STATE / "docker")
    run(["docker", "tag", name, target])
    run(
        ["docker", "--config", config, "login", "--username", username, "--password-stdin", registry],
        stdin=password,
    )
    run(["docker", "--config", config, "push", "-q", target])


def remove() -> None:
    """Removes every image that was made here and untagged build steps, whatever they are called.

    One that others were built on goes after them, and those of one second come in no order.
    """
    found = run(["docker", "images", "--quiet", "--no-trunc", "--filter", f"label={LABEL}"]).stdout.split()
    left = list(dict.fromkeys(found))
    while left:
        still = [image for image in left if run(["docker", "rmi", "--force", image], check=False).returncode]
        if still == left:
            run(["docker", "rmi", "--force", left[0]])
        left = still
    say(f"{len(set(found))} images removed")
