# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Port of operator access: reads how a host is reached, and keeps, applies and confirms its access files."""

from __future__ import annotations

import filecmp
import os
import pwd
import re
import shutil
from collections.abc import Sequence
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils import _access as rules

Run = Callable[[list[str]], tuple[int, str, str]]
TIMER = "signalbox-access-guard"
FIREWALL_FILE = "/etc/signalbox/nftables.conf"
PROGRAMS = {"sshd": "/usr/sbin/sshd", "nft": "/usr/sbin/nft", "visudo": "/usr/sbin/visudo"}


class AccessError(Exception):
    """What went wrong, and how to mend it."""


def read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


class Host:
    """A host as seen from itself."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def observe(self, units: Sequence[str], hosts_marker: str) -> dict[str, Any]:
        origin = self._origin()
        user = origin.pop("user")
        effective = self.sshd(user)
        return {
            "os": self._system(),
            "container": self._container(),
            "user": user,
            "user_keys": self._count_keys(user, effective),
            "client": origin,
            "can_set_time": rules.has_capability(read_text("/proc/1/status"), rules.CAP_SYS_TIME),
            "hosts_mounted": rules.is_mount_point(read_text("/proc/self/mountinfo"), "/etc/hosts"),
            "hosts_block": hosts_marker in read_text("/etc/hosts"),
            "programs": sorted(name for name, path in PROGRAMS.items() if os.path.exists(path)),
            "units": self._units(units),
            "firewall_loaded": self._firewall_loaded(),
            "sshd": effective,
        }

    def sshd(self, user: str) -> dict[str, list[str]]:
        if not os.path.exists(PROGRAMS["sshd"]):
            return {}
        who = ["-C", f"user={user},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"]
        code, out, _err = self.run([PROGRAMS["sshd"], "-T", *who])
        return rules.sshd_settings(out) if code == 0 else {}

    def _system(self) -> dict[str, str]:
        fields = rules.os_release(read_text("/etc/os-release"))
        return {"id": fields.get("ID", ""), "version": fields.get("VERSION_ID", "")}

    def _container(self) -> str:
        kind = self.run(["systemd-detect-virt", "--container"])[1].strip()
        return "" if kind == "none" else kind

    def _origin(self) -> dict[str, Any]:
        """The login this process descends from: sudo drops SSH_CONNECTION, its ancestors still have it."""
        found: dict[str, Any] = {"user": os.environ.get("SUDO_USER", "")}
        process = os.getpid()
        while process > 1:
            client = rules.ssh_client(read_text(f"/proc/{process}/environ").encode())
            if client:
                owner = os.stat(f"/proc/{process}").st_uid
                found["user"] = found["user"] or pwd.getpwuid(owner).pw_name
                found.update(client)
                break
            parent = re.search(r"^PPid:\s*(\d+)", read_text(f"/proc/{process}/status"), re.MULTILINE)
            process = int(parent.group(1)) if parent else 0
        found["user"] = found["user"] or pwd.getpwuid(os.geteuid()).pw_name
        return found

    def _count_keys(self, user: str, effective: dict[str, list[str]]) -> int:
        try:
            home = pwd.getpwnam(user).pw_dir
        except KeyError:
            return 0
        return sum(len(rules.authorized_keys(read_text(path))) for path in rules.key_files(effective, user, home))

    def _units(self, units: Sequence[str]) -> dict[str, dict[str, str]]:
        if not units:
            return {}
        return rules.unit_states(
            self.run(["systemctl", "show", "--property=Id,LoadState,UnitFileState,ActiveState", *units])[1]
        )

    def _firewall_loaded(self) -> bool:
        """Whether the loaded table carries the fingerprint of the file."""
        fingerprint = re.search(r'comment "(signalbox [0-9a-f]+)"', read_text(FIREWALL_FILE))
        if not fingerprint or not os.path.exists(PROGRAMS["nft"]):
            return False
        return fingerprint.group(1) in self.run([PROGRAMS["nft"], "list", "table", "inet", "signalbox"])[1]


class Guard:
    """The last access files a login was proven with, and the timer that puts them back."""

    def __init__(self, run: Run, paths: Sequence[str], directory: str, restore: str) -> None:
        self.run, self.paths, self.directory, self.restore_program = run, list(paths), directory, restore
        self.good = os.path.join(directory, "known-good")

    def first(self) -> bool:
        return not os.path.isdir(self.good)

    def pending(self) -> bool:
        """Whether the files differ from those a login was proven with."""
        return not self.first() and not all(same(path, self.good + path) for path in self.paths)

    def keep(self) -> None:
        """Takes the present files as proven."""
        fresh = self.good + ".new"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh, mode=0o700)
        os.chmod(self.directory, 0o700)
        for path in self.paths:
            copy(path, fresh + path)
        with open(os.path.join(self.directory, "paths"), "w", encoding="utf-8") as file:
            file.writelines(path + "\n" for path in self.paths)
        shutil.rmtree(self.good, ignore_errors=True)
        os.rename(fresh, self.good)

    def arm(self, seconds: int) -> None:
        self._stop_timer()
        self._must(
            [
                "systemd-run",
                "--unit",
                TIMER,
                "--on-active",
                f"{seconds}s",
                "--timer-property=AccuracySec=1s",
                "--collect",
                self.restore_program,
            ],
            "The timer that would put the old access files back could not be started, so nothing was applied",
        )

    def apply(self) -> None:
        """Loads the files; puts the old ones back at once when they do not load."""
        try:
            if os.path.exists(PROGRAMS["nft"]) and os.path.exists(FIREWALL_FILE):
                self._must([PROGRAMS["nft"], "-f", FIREWALL_FILE], "The firewall was refused by the kernel")
            if os.path.exists(PROGRAMS["sshd"]):
                self._must([PROGRAMS["sshd"], "-t"], "sshd refuses its configuration")
                self._must(["systemctl", "try-reload-or-restart", "ssh.service"], "sshd did not reload")
        except AccessError as error:
            self._stop_timer()
            self.run([self.restore_program])
            raise AccessError(f"{error}. The old access files are back.") from error

    def confirm(self) -> None:
        if self.run(["systemctl", "is-active", "--quiet", f"{TIMER}.timer"])[0] != 0:
            raise AccessError("The login was proven too late: the timer has put the old access files back. Run again.")
        self._stop_timer()
        self.keep()

    def _stop_timer(self) -> None:
        self.run(["systemctl", "stop", f"{TIMER}.timer"])

    def _must(self, command: list[str], message: str) -> None:
        code, out, err = self.run(command)
        if code != 0:
            raise AccessError(f"{message}: {(err or out).strip()}")


def same(left: str, right: str) -> bool:
    """Whether two paths hold the same files, or are both missing."""
    if os.path.isdir(left) and os.path.isdir(right):
        names = os.listdir(left)
        inside = all(same(os.path.join(left, name), os.path.join(right, name)) for name in names)
        return sorted(names) == sorted(os.listdir(right)) and inside
    if os.path.isfile(left) and os.path.isfile(right):
        return filecmp.cmp(left, right, shallow=False)
    return not os.path.exists(left) and not os.path.exists(right)


def copy(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        shutil.copytree(source, target)
    elif os.path.isfile(source):
        shutil.copy2(source, target)
