"""What the role vault refuses before it touches a host: one sentence per mistake, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._vault_input import input_problems

SHA = "0" * 64
FILES = [
    {"type": "file", "options": {"file_path": "/var/log/openbao/audit.log"}},
    {"type": "file", "options": {"file_path": "/srv/audit/audit.log"}},
]
GOOD: dict[str, Any] = {
    "kind": "openbao",
    "archive": "/tmp/openbao.whl",
    "version": "",
    "archive_sha256": "",
    "archive_member": "",
    "package": {},
    "repository": {},
    "listen_addresses": ["10.0.0.9"],
    "public_listen_allowed": False,
    "peers": [],
    "node": "vault1",
    "seal": "static",
    "seal_key_id": "1",
    "seal_transit": {},
    "seal_transit_token_given": False,
    "audit_devices": FILES,
    "pgp_keys": [],
    "handout_directory": "",
}
OWN = {"version": "2.8.0", "archive_sha256": SHA, "archive_member": "bao"}
PACKAGE = {"archive": "", "package": {"name": "openbao", "version": "2.7.2"}}
TRANSIT = {
    "seal": "transit",
    "seal_transit": {"address": "https://a", "key_name": "k"},
    "seal_transit_token_given": True,
}


def peers(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "address": f"10.0.0.{number}"} for number, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        OWN,
        PACKAGE,
        {**PACKAGE, "repository": {"uri": "u", "suites": "s", "components": "c", "signed_by": "k"}},
        {"kind": "hashicorp", "seal": "shamir", "pgp_keys": ["alice"], "handout_directory": "/h", **OWN},
        TRANSIT,
        {"peers": peers("vault1", "vault2", "vault3")},
        {"listen_addresses": ["93.184.216.34"], "public_listen_allowed": True},
    ],
)
def test_what_is_right_is_taken(changed: dict[str, Any]) -> None:
    assert input_problems({**GOOD, **changed}) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"archive": ""}, "vault_archive or vault_package: exactly one"),
        ({**PACKAGE, "archive": "/tmp/openbao.whl"}, "vault_archive or vault_package: exactly one"),
        ({"version": "2.8.0"}, "vault_archive_member, vault_archive_sha256: must be given too"),
        ({"kind": "hashicorp", "seal": "shamir"}, "only OpenBao was reviewed; give all three"),
        ({**OWN, "archive_sha256": SHA.replace("0", "F")}, "64 hexadecimal digits in lower case"),
        ({**OWN, "archive_sha256": SHA[1:]}, "64 hexadecimal digits in lower case"),
        ({"archive": "", "package": {"name": "openbao"}}, "vault_package: needs name and version"),
        ({**PACKAGE, "repository": {"uri": "u", "suites": "s"}}, "vault_repository: lacks components, signed_by"),
        ({"kind": "hashicorp", **OWN}, "vault_seal: static is OpenBao's alone"),
        ({**TRANSIT, "seal_transit": {"address": "https://a"}}, "vault_seal_transit: lacks key_name"),
        ({**TRANSIT, "seal_transit_token_given": False}, "vault_seal_transit_token: is empty"),
        ({"seal_key_id": "2/1"}, "vault_seal_key_id: becomes a file's name"),
        ({"pgp_keys": ["alice"]}, "vault_handout_directory: is empty"),
        ({"pgp_keys": ["../alice"], "handout_directory": "/h"}, "vault_pgp_keys.../alice: a name becomes a file's"),
        ({"peers": peers("vault2", "vault3", "vault4")}, "lacks this one (vault1)"),
        ({"peers": peers("vault1", "vault2", "vault2")}, "vault_peers: holds a name twice"),
        ({"peers": peers("vault1", "vault2")}, "2 nodes lose their majority as soon as 1 do"),
        ({"peers": peers("vault1", "vault2", "vault3"), "listen_addresses": []}, "could not reach this one"),
        ({"peers": [{"name": "vault1", "address": "vault1.example.com"}]}, "vault_peers: "),
        ({"audit_devices": FILES[:1]}, "fewer than two"),
        ({"audit_devices": [FILES[0], FILES[0]]}, "holds a device twice"),
        ({"audit_devices": [*FILES, {"type": "syslog"}]}, "'syslog' is no type that is supported"),
        ({"audit_devices": [FILES[0], {"type": "socket", "options": {}}]}, "use type file"),
        ({"audit_devices": [FILES[0], {"type": "file", "options": {}}]}, "'' is no absolute path"),
        (
            {"audit_devices": [FILES[0], {"type": "file", "options": {"file_path": "/srv/a/../b"}}]},
            "'/srv/a/../b' is no absolute path",
        ),
        (
            {"audit_devices": [FILES[0], {"type": "file", "options": {"file_path": "/var/log/audit.log"}}]},
            "/var/log/audit.log must lie in a directory of its own",
        ),
        ({"listen_addresses": ["93.184.216.34"]}, "vault_listen_addresses: "),
    ],
)
def test_a_mistake_is_named(changed: dict[str, Any], problem: str) -> None:
    found = input_problems({**GOOD, **changed})
    assert len(found) == 1, found
    assert problem in found[0]


def test_all_mistakes_are_named_at_once() -> None:
    wrong = {"archive": "", "seal": "transit", "peers": peers("vault1", "vault2"), "audit_devices": []}
    assert [one.split(":")[0] for one in input_problems({**GOOD, **wrong})] == [
        "vault_archive or vault_package",
        "vault_seal_transit",
        "vault_seal_transit_token",
        "vault_peers",
        "vault_audit_devices",
    ]
