"""Docker Engine for the lab: uses a running one, else installs Debian's and starts it."""

from __future__ import annotations

import grp
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from shell import STATE, LabError, as_root, run, say, stream

PIDFILE = STATE / "dockerd.pid"
INSTALLED = STATE / "installed-packages"
# What a purge of Docker's packages leaves; recorded with the packages where it was not there before.
FOLDERS = ("/etc/cni", "/etc/docker", "/var/lib/containerd", "/var/lib/docker")
GROUP = "group:docker"
# Each host's systemd takes eight or more of the kernel's 128; one that gets none starts no unit that watches a file.
WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS_WANTED = 1024
WATCHERS_BEFORE = STATE / "inotify-instances"


def answers() -> bool:
    return shutil.which("docker") is not None and run(["docker", "info"], check=False).returncode == 0


def install(packages: list[str]) -> None:
    """Installs Debian packages and keeps a record of what is new, for `clean`."""
    if shutil.which("apt-get") is None:
        raise LabError(f"install {', '.join(packages)} by hand: this machine has no apt-get")
    STATE.mkdir(exist_ok=True)
    before = _installed()
    traces = [folder for folder in FOLDERS if not Path(folder).exists()] + ([] if _group() else [GROUP])
    say(f"installing {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    stream(as_root(["apt-get", "update"]), STATE / "apt-update.log", env=environment)
    options = ["-y", "--no-install-recommends", "-o", "APT::Keep-Downloaded-Packages=false"]
    try:
        stream(as_root(["apt-get", "install", *options, *packages]), STATE / "apt-install.log", env=environment)
    finally:
        with INSTALLED.open("a") as record:
            record.writelines(f"{name}\n" for name in [*sorted(_installed() - before), *traces])


def _group() -> int | None:
    try:
        return grp.getgrnam("docker").gr_gid
    except KeyError:
        return None


def _installed() -> set[str]:
    return set(run(["dpkg-query", "-W", "-f", "${Package}\n"]).stdout.split())


def ensure() -> None:
    if not answers():
        _bring()
    _let_hosts_watch_files()


def _bring() -> None:
    _refuse_who_may_not_use_it()
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


def _let_hosts_watch_files() -> None:
    """Until the machine's next boot, or `clean`."""
    now = int(WATCHERS.read_text())
    if now < WATCHERS_WANTED:
        STATE.mkdir(exist_ok=True)
        WATCHERS_BEFORE.write_text(str(now))
        _set_watchers(WATCHERS_WANTED)


def _set_watchers(number: int) -> None:
    run(as_root(["tee", str(WATCHERS)]), stdin=str(number))


def _refuse_who_may_not_use_it() -> None:
    """Everything here and in the tests speaks to Docker itself: sudo for single commands would not do."""
    if os.geteuid() == 0 or "DOCKER_HOST" in os.environ:
        return
    if _group() not in os.getgroups():
        raise LabError(
            "this user may not use Docker: run it as root (`sudo make …`),"
            " or join the group docker (`sudo usermod -aG docker $USER`) and log in again"
        )


def _start_by_hand() -> None:
    STATE.mkdir(exist_ok=True)
    _forget_dead_engine()
    say("starting dockerd")
    with (STATE / "dockerd.log").open("a") as log:
        subprocess.Popen(
            as_root(["dockerd", "--pidfile", str(PIDFILE)]),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def _forget_dead_engine() -> None:
    """A killed engine leaves its process id behind, and the next refuses to start when another process has got it."""
    if PIDFILE.exists() and _running() is None:
        PIDFILE.unlink()


def _running() -> int | None:
    """The engine that was started here; its number may have gone to another process since."""
    if not PIDFILE.exists():
        return None
    number = PIDFILE.read_text().strip()
    try:
        command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(number) if os.fsencode(PIDFILE) in command else None


def _wait() -> None:
    deadline = time.monotonic() + 60
    while not answers():
        if time.monotonic() > deadline:
            raise LabError(f"Docker Engine does not answer; see {STATE / 'dockerd.log'} and `docker info`")
        time.sleep(0.5)


def remove() -> None:
    """Removes the packages that were installed here, and stops the engine that was started here."""
    recorded = set(INSTALLED.read_text().split()) if INSTALLED.exists() else set()
    folders = sorted(recorded.intersection(FOLDERS))
    packages = sorted(recorded.difference(FOLDERS, [GROUP]))
    # Purging Docker deletes everything it keeps.
    if "docker.io" in packages and answers() and (others := _of_others()):
        raise LabError(
            f"Docker stays, as it has what is not the lab's: {', '.join(others)}."
            " Remove that, then run `make clean` again"
        )
    stop()
    if WATCHERS_BEFORE.exists():
        _set_watchers(int(WATCHERS_BEFORE.read_text()))
    if packages:
        say(f"removing {len(packages)} packages that the lab installed")
        stream(as_root(["apt-get", "purge", "-y", *packages]), STATE / "apt-purge.log")
    if "docker.io" in packages:
        run(as_root(["rm", "-rf", *folders]))
        if GROUP in recorded and _group():
            run(as_root(["groupdel", "docker"]))
    INSTALLED.unlink(missing_ok=True)


def _of_others() -> list[str]:
    """What is left in the engine; an anonymous volume that no container has is nobody's."""
    containers = run(["docker", "ps", "--all", "--format", "container {{.Names}}"]).stdout.splitlines()
    images = run(["docker", "images", "--format", "image {{.Repository}}:{{.Tag}}"]).stdout.splitlines()
    volumes = run(["docker", "volume", "ls", "--format", "{{.Name}}"]).stdout.split()
    named = [f"volume {name}" for name in volumes if not re.fullmatch("[0-9a-f]{64}", name)]
    return [*containers, *images, *named]


def stop() -> None:
    """Stops the engine that was started here and waits for its end: packages of a running one cannot be purged."""
    number = _running()
    if number is not None:
        say("stopping dockerd")
        run(as_root(["kill", str(number)]))
        deadline = time.monotonic() + 60
        while _running() == number:
            if time.monotonic() > deadline:
                raise LabError(f"dockerd (process {number}) does not end; see {STATE / 'dockerd.log'}")
            time.sleep(0.2)
    PIDFILE.unlink(missing_ok=True)
