"""Docker Engine for the lab: uses a running one, else installs Debian's and starts it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from shell import STATE, LabError, as_root, run, say, stream

PIDFILE = STATE / "dockerd.pid"
INSTALLED = STATE / "installed-packages"


def answers() -> bool:
    return shutil.which("docker") is not None and run(["docker", "info"], check=False).returncode == 0


def install(packages: list[str]) -> None:
    """Installs Debian packages and keeps a record of what is new, for `clean`."""
    if shutil.which("apt-get") is None:
        raise LabError(f"install {', '.join(packages)} by hand: this machine has no apt-get")
    STATE.mkdir(exist_ok=True)
    before = _installed()
    say(f"installing {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    stream(as_root(["apt-get", "update"]), STATE / "apt-update.log", env=environment)
    stream(
        as_root(["apt-get", "install", "-y", "--no-install-recommends", *packages]),
        STATE / "apt-install.log",
        env=environment,
    )
    new = sorted(_installed() - before)
    with INSTALLED.open("a") as record:
        record.writelines(f"{name}\n" for name in new)


def _installed() -> set[str]:
    return set(run(["dpkg-query", "-W", "-f", "${Package}\n"]).stdout.split())


def ensure() -> None:
    if answers():
        return
    if shutil.which("dockerd") is None:
        # Debian 13 has split the client off; Debian 12 has not.
        has_client_package = run(["apt-cache", "show", "docker-cli"], check=False).returncode == 0
        install(["docker.io", "iptables", *(["docker-cli"] if has_client_package else [])])
    if answers():
        return
    if Path("/run/systemd/system").exists():
        run(as_root(["systemctl", "start", "docker"]))
    else:
        _start_by_hand()
    _wait()


def _start_by_hand() -> None:
    STATE.mkdir(exist_ok=True)
    _forget_dead_engine()
    say("starting dockerd")
    with (STATE / "dockerd.log").open("a") as log:
        process = subprocess.Popen(
            as_root(["dockerd"]), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    PIDFILE.write_text(str(process.pid))


def _forget_dead_engine() -> None:
    """A killed engine leaves its process id behind, and the next refuses to start when another process has got it."""
    recorded = Path("/run/docker.pid")
    if not recorded.exists():
        return
    name = Path(f"/proc/{recorded.read_text().strip()}/comm")
    if not name.exists() or name.read_text().strip() != "dockerd":
        run(as_root(["rm", "-f", str(recorded)]))


def _wait() -> None:
    deadline = time.monotonic() + 60
    while not answers():
        if time.monotonic() > deadline:
            raise LabError(f"Docker Engine does not answer; see {STATE / 'dockerd.log'} and `docker info`")
        time.sleep(0.5)


def remove() -> None:
    """Stops the engine that `ensure` started and removes the packages that it installed."""
    if PIDFILE.exists():
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            os.kill(int(PIDFILE.read_text()), signal.SIGTERM)
        PIDFILE.unlink()
    if INSTALLED.exists():
        packages = sorted(set(INSTALLED.read_text().split()))
        if packages:
            say(f"removing {len(packages)} packages that the lab installed")
            stream(as_root(["apt-get", "purge", "-y", *packages]), STATE / "apt-purge.log")
        INSTALLED.unlink()
