# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of operator access: what a host tells about how it is reached, and which wishes would lock the operator out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CAP_SYS_TIME = 25
KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-ed25519@", "sk-ecdsa-sha2-")
USER_NAME = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")
COMMENT = re.compile(r'^[^"\\\n]{0,100}$')


def authorized_keys(text: str) -> list[str]:
    """Lines of an authorized_keys file that hold a key."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#") and _has_key(line)]


def _has_key(line: str) -> bool:
    return any(word.startswith(KEY_TYPES) for word in line.split())


def sshd_settings(text: str) -> dict[str, list[str]]:
    """Output of `sshd -T`: keyword -> values in order, as some keywords come more than once."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword:
            settings.setdefault(keyword, []).append(value)
    return settings


def key_files(settings: Mapping[str, Sequence[str]], user: str, home: str) -> list[str]:
    """Paths sshd reads a user's keys from, with the tokens of AuthorizedKeysFile expanded."""
    words = " ".join(settings.get("authorizedkeysfile", [".ssh/authorized_keys .ssh/authorized_keys2"])).split()
    tokens = {"%u": user, "%h": home, "%%": "%"}
    names = [re.sub("%[uh%]", lambda found: tokens[found.group()], word) for word in words if word != "none"]
    return [name if name.startswith("/") else home.rstrip("/") + "/" + name for name in names]


def ssh_client(environment: bytes) -> dict[str, Any]:
    """Client address and server port from a process environment with SSH_CONNECTION, otherwise empty."""
    for item in environment.split(b"\0"):
        name, _, value = item.partition(b"=")
        words = value.decode("utf-8", "replace").split()
        if name == b"SSH_CONNECTION" and len(words) == 4 and words[3].isdigit():
            return {"address": words[0].split("%")[0], "port": int(words[3])}
    return {}


def has_capability(status: str, bit: int) -> bool:
    """Whether the bounding set in a /proc/<pid>/status text has a capability."""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(found) and bool(int(found.group(1), 16) >> bit & 1) if found else False


def is_mount_point(mountinfo: str, path: str) -> bool:
    """Whether a path is mounted itself; such a file can be written but not renamed over."""
    return any(len(words) > 4 and words[4] == path for words in map(str.split, mountinfo.splitlines()))


def os_release(text: str) -> dict[str, str]:
    """The fields of an os-release file."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def unit_states(text: str) -> dict[str, dict[str, str]]:
    """Output of `systemctl show --property=Id,LoadState,UnitFileState,ActiveState` for several units."""
    states = {}
    for block in text.strip().split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in fields:
            states[fields["Id"]] = {
                "load": fields.get("LoadState", ""),
                "enabled": fields.get("UnitFileState", ""),
                "active": fields.get("ActiveState", ""),
            }
    return states


def access_problems(host: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Everything that forbids a base configuration, each with what to do about it; empty when it is safe.

    `host` is what access_guard observed; `wanted` has the keys users, ssh_ports, ssh_sources, ssh_allow_users,
    ssh_permit_root_login, open_ports and over_ssh.
    """
    problems = _platform_problems(host) + _user_problems(wanted["users"]) + _port_problems(wanted)
    if wanted["over_ssh"]:
        problems += _account_problems(host, wanted) + _route_problems(host, wanted)
    return problems


def _platform_problems(host: Mapping[str, Any]) -> list[str]:
    version = str(host["os"]["version"])
    if host["os"]["id"] == "debian" and version.isdigit() and int(version) >= 13:
        return []
    return [
        f"The host runs {host['os']['id']} {version}, and Debian 13 or newer is needed: "
        "install Debian 13 on it or take it out of the inventory."
    ]


def _user_problems(users: Sequence[Mapping[str, Any]]) -> list[str]:
    problems = []
    names = [str(user["name"]) for user in users]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"base_users declares {name} more than once: merge the entries.")
    for user in users:
        if not USER_NAME.match(str(user["name"])):
            problems.append(
                f"base_users has the name {user['name']!r}: use lower case letters, digits, _ and -, at most 32."
            )
        if user["name"] == "root" and user.get("state", "present") == "absent":
            problems.append("base_users would remove root: take the entry out.")
        for key in user.get("authorized_keys") or []:
            if len(authorized_keys(str(key))) != 1:
                problems.append(
                    f"base_users has a key of {user['name']} that is no public key ({str(key)[:30]!r}): "
                    "paste one line of a .pub file."
                )
    return problems


def _port_problems(wanted: Mapping[str, Any]) -> list[str]:
    problems = []
    if not wanted["ssh_ports"]:
        problems.append("base_ssh_ports is empty, so nobody could log in: name a port, for example 22.")
    for port in wanted["ssh_ports"]:
        problems += _port_number_problems("base_ssh_ports", port)
    problems += _source_problems("base_ssh_sources", wanted["ssh_sources"])
    for entry in wanted["open_ports"]:
        label = f"base_open_ports (port {entry['port']})"
        problems += _port_number_problems("base_open_ports", entry["port"])
        problems += _source_problems(label, entry.get("sources") or [])
        if not COMMENT.match(str(entry.get("comment") or "")):
            problems.append(
                f"{label} has a comment with a quote, a backslash or over 100 characters: shorten it to plain words."
            )
    return problems


def _port_number_problems(label: str, port: Any) -> list[str]:
    if 1 <= int(port) <= 65535:
        return []
    return [f"{label} has the port {port}: give a number from 1 to 65535."]


def _source_problems(label: str, sources: Iterable[Any]) -> list[str]:
    wrong = [source for source in sources if _network(source) is None]
    return [f"{label} has the source {source!r}: give an address or a network such as 10.0.0.0/8." for source in wrong]


def _network(source: Any) -> Any | None:
    try:
        return ipaddress.ip_network(str(source), strict=False)
    except ValueError:
        return None


def _account_problems(host: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    name = host["user"]
    who = f"{name}, the user Ansible connects as,"
    entry = next((user for user in wanted["users"] if user["name"] == name), None)
    if entry is not None and entry.get("state", "present") == "absent":
        return [
            f"base_users would remove {who[:-1]}: connect as another user (ansible_user) or set its state to present."
        ]
    problems = []
    declared = entry.get("authorized_keys") if entry is not None else None
    if not declared and (declared is not None or host["user_keys"] == 0):
        problems.append(
            f"{who} would have no authorized key, and password logins are turned off: "
            f'add its public key to base_users, as {{name: {name}, authorized_keys: ["ssh-ed25519 ..."]}}.'
        )
    if wanted["ssh_allow_users"] and name not in wanted["ssh_allow_users"]:
        problems.append(f"base_ssh_allow_users leaves out {who[:-1]}: add it to the list, or connect as a user on it.")
    if name == "root" and wanted["ssh_permit_root_login"] != "prohibit-password":
        problems.append(
            f"base_ssh_permit_root_login is {wanted['ssh_permit_root_login']} while Ansible connects as root: "
            "create another user with sudo first, connect as that user (ansible_user), then forbid root."
        )
    if name != "root" and entry is not None and not entry.get("sudo") and "sudo" not in (entry.get("groups") or []):
        problems.append(f"base_users declares {who} without sudo, so no later run could become root: set sudo to true.")
    return problems


def _route_problems(host: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    problems = []
    address, port = host["client"].get("address"), host["client"].get("port")
    if port and wanted["ssh_ports"] and port not in wanted["ssh_ports"]:
        problems.append(
            f"base_ssh_ports leaves out {port}, the port of this very connection: "
            "list the old and the new port, run, change ansible_port, then take the old one out."
        )
    networks = [network for network in map(_network, wanted["ssh_sources"]) if network is not None]
    if address and networks and not any(_contains(network, address) for network in networks):
        problems.append(
            f"base_ssh_sources leaves out {address}, the address Ansible comes from: add it or its network."
        )
    return problems


def _contains(network: Any, address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) in network
