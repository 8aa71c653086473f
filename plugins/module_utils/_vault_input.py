# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks over the inputs of the role vault that no type can express: one sentence per mistake."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._listen_addresses import address_problems

_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
_REPOSITORY = ("uri", "suites", "components", "signed_by")


def _source_problems(inputs: Mapping[str, Any]) -> Iterator[str]:
    archive, package = inputs["archive"], inputs["package"]
    if bool(archive) == bool(package):
        yield "vault_archive or vault_package: exactly one must be given; there is no default source"
    own = {name: inputs[name] for name in ("version", "archive_sha256", "archive_member")}
    given = sorted(name for name, value in own.items() if value)
    if archive and given and len(given) < len(own):
        lacking = ", ".join(f"vault_{name}" for name in sorted(set(own) - set(given)))
        yield f"{lacking}: must be given too, since a release other than the reviewed one is asked for"
    if archive and not given and inputs["kind"] != "openbao":
        yield "vault_version, vault_archive_sha256, vault_archive_member: only OpenBao was reviewed; give all three"
    if own["archive_sha256"] and not _SHA256.match(own["archive_sha256"]):
        yield "vault_archive_sha256: must be 64 hexadecimal digits in lower case"
    if package and not (package.get("name") and package.get("version")):
        yield "vault_package: needs name and version; a version that moves by itself is none"
    lacking_keys = [name for name in _REPOSITORY if inputs["repository"] and not inputs["repository"].get(name)]
    if lacking_keys:
        yield f"vault_repository: lacks {', '.join(lacking_keys)}"


def _seal_problems(inputs: Mapping[str, Any]) -> Iterator[str]:
    if inputs["seal"] == "static" and inputs["kind"] != "openbao":
        yield "vault_seal: static is OpenBao's alone; choose shamir or transit"
    if not _NAME.match(str(inputs["seal_key_id"])):
        yield "vault_seal_key_id: becomes a file's name; use letters, digits, '_', '.' and '-'"
    if inputs["seal"] == "transit":
        lacking = [name for name in ("address", "key_name") if not inputs["seal_transit"].get(name)]
        if lacking:
            yield f"vault_seal_transit: lacks {', '.join(lacking)}"
        if not inputs["seal_transit_token_given"]:
            yield "vault_seal_transit_token: is empty; the other Vault's key is used with a token"
    if inputs["pgp_keys"] and not inputs["handout_directory"]:
        yield "vault_handout_directory: is empty; name a directory of the control node for the operators' handouts"
    for name in inputs["pgp_keys"]:
        if not _NAME.match(str(name)):
            yield f"vault_pgp_keys.{name}: a name becomes a file's; use letters, digits, '_', '.' and '-'"


def _peer_problems(inputs: Mapping[str, Any]) -> Iterator[str]:
    names = [str(peer.get("name")) for peer in inputs["peers"]]
    if names and inputs["node"] not in names:
        yield f"vault_peers: must name every node, and lacks this one ({inputs['node']})"
    if len(set(names)) < len(names):
        yield "vault_peers: holds a name twice"
    if names and len(names) % 2 == 0:
        yield f"vault_peers: {len(names)} nodes lose their majority as soon as {len(names) - 1} do; use 1, 3 or 5"
    if len(names) > 1 and not inputs["listen_addresses"]:
        yield "vault_listen_addresses: is empty, so that the other nodes could not reach this one"
    for problem in address_problems([str(peer.get("address")) for peer in inputs["peers"]], True):
        yield f"vault_peers: {problem}"


def _audit_problems(devices: list[Mapping[str, Any]]) -> Iterator[str]:
    if len(devices) < 2:
        yield "vault_audit_devices: fewer than two; with one, a full volume stops every request"
    seen = []
    for device in devices:
        options = device.get("options") or {}
        if device.get("type") == "file":
            path = str(options.get("file_path") or "")
            if not path.startswith("/") or posixpath.normpath(path) != path:
                yield f"vault_audit_devices: '{path}' is no absolute path of a file"
            elif posixpath.dirname(path) in ("/", "/var", "/var/log", "/etc", "/var/lib"):
                yield f"vault_audit_devices: {path} must lie in a directory of its own, which is given to the server"
        else:
            yield (
                f"vault_audit_devices: '{device.get('type')}' is no type that is supported, for it cannot be seen "
                "whether such a device records; use type file, and send the file on from there"
            )
        if device in seen:
            yield "vault_audit_devices: holds a device twice"
        seen.append(device)


def input_problems(inputs: Mapping[str, Any]) -> list[str]:
    """Every mistake in the role's inputs, given by name without the role's prefix."""
    found = [*_source_problems(inputs), *_seal_problems(inputs), *_peer_problems(inputs)]
    found.extend(_audit_problems(list(inputs["audit_devices"])))
    found.extend(
        f"vault_listen_addresses: {problem}"
        for problem in address_problems(inputs["listen_addresses"], bool(inputs["public_listen_allowed"]))
    )
    return found
