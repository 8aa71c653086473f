# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what Vault holds and the layout that is wanted to the requests in between. No value of a secret is here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError

DAY = 86400
SECRET_ID_SECONDS = 30 * DAY
TOKEN_SECONDS = 600
TOKEN_MAXIMUM_SECONDS = 1800
CERTIFICATE_SECONDS = 90 * DAY
INTERMEDIATE_SECONDS = 3 * 365 * DAY
# The key of Vault's storage renews itself.
ROTATION_SECONDS = 90 * DAY
HOST_PREFIX = paths.host_role("")

Data = Mapping[str, Any]


@dataclass(frozen=True)
class Keys:
    """A key-value path: its version and the names that have a value; version 0 where there is nothing."""

    version: int = 0
    names: frozenset[str] = frozenset()
    deleted: bool = False


@dataclass(frozen=True)
class State:
    """What Vault holds, as far as the layout names it."""

    mounts: Mapping[str, str] = field(default_factory=dict)  # path -> type
    settings: Mapping[str, Data] = field(default_factory=dict)  # path of a configuration -> its values
    secrets: Mapping[str, Keys] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    approles: Mapping[str, Data] = field(default_factory=dict)
    certificate_roles: Mapping[str, Data] = field(default_factory=dict)
    static_roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    """One request and what it does in words."""

    description: str
    method: str
    path: str
    body: Data = field(default_factory=dict)
    # Names of a key-value path to generate or give, with the version that is expected there.
    write: Mapping[str, int] | None = None
    keys: Keys = Keys()


MOUNTS: dict[str, Data] = {
    paths.KV_MOUNT: {"type": "kv", "options": {"version": "2"}},
    paths.DATABASE_MOUNT: {"type": "database"},
    paths.PKI_MOUNT: {"type": "pki", "config": {"max_lease_ttl": f"{INTERMEDIATE_SECONDS}s"}},
}

# Two writers at once must not undo each other: every write names the version that it saw.
SETTINGS: dict[str, Data] = {
    "sys/rotate/config": {"enabled": True, "interval": f"{ROTATION_SECONDS // 3600}h0m0s"},
    f"{paths.KV_MOUNT}/config": {"cas_required": True, "max_versions": 10},
    f"{paths.PKI_MOUNT}/config/auto-tidy": {
        "enabled": True,
        "tidy_cert_store": True,
        "tidy_revoked_certs": True,
        "interval_duration": DAY,
        "safety_buffer": 3 * DAY,
    },
}


def approle_body(host: str, networks: Sequence[str]) -> dict[str, Any]:
    return {
        "token_policies": [paths.host_role(host)],
        "token_no_default_policy": True,
        "token_ttl": TOKEN_SECONDS,
        "token_max_ttl": TOKEN_MAXIMUM_SECONDS,
        "token_bound_cidrs": list(networks),
        "secret_id_bound_cidrs": list(networks),
        "secret_id_ttl": SECRET_ID_SECONDS,
        "secret_id_num_uses": 0,
        "bind_secret_id": True,
    }


def certificate_role_body(names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Exactly these names and addresses, for a key of the host's own, for at most the given time."""
    return {
        "allowed_domains": [*names["dns"], *names["addresses"]],  # an address may stand as the common name
        "allow_bare_domains": True,
        "allow_subdomains": False,
        "allow_glob_domains": False,
        "allow_any_name": False,
        "allow_localhost": False,
        "allow_wildcard_certificates": any(name.startswith("*.") for name in names["dns"]),
        "allow_ip_sans": True,
        "allowed_ip_sans_cidr": [str(ipaddress.ip_network(address)) for address in names["addresses"]],
        "allowed_uri_sans": [],
        "allowed_other_sans": [],
        "require_cn": False,
        "key_type": "ec",
        "key_bits": 256,
        "key_usage": ["DigitalSignature"],
        "server_flag": True,
        "client_flag": True,
        "basic_constraints_valid_for_non_ca": True,
        "ttl": CERTIFICATE_SECONDS,
        "max_ttl": CERTIFICATE_SECONDS,
        "not_before_duration": 300,
        "not_before_bound": "forbid",
        "not_after_bound": "forbid",
    }


def plan(
    state: State, wanted: Data, given: Mapping[str, Mapping[str, str]] | None = None, overwrite: bool = False
) -> list[Step]:
    """The requests, in an order that works. `given` is path -> name -> value, of which only the names count here."""
    steps = [*_mounts(state), *_settings(state)]
    steps.extend(_secrets(state, wanted["secrets"], given or {}, overwrite))
    for host, entry in wanted["hosts"].items():
        steps.extend(_host(state, host, entry))
    steps.extend(_removals(state, wanted))
    return steps


def _mounts(state: State) -> Iterator[Step]:
    for mount, body in MOUNTS.items():
        if mount not in state.mounts:
            yield Step(f"mount {body['type']} at {mount}", "POST", f"sys/mounts/{mount}", body)


def mount_problems(state: State) -> list[str]:
    """Mounts whose place is taken by something else."""
    return [
        f"{mount}/ is a mount of type {state.mounts[mount]}, and the layout needs {body['type']} there: "
        "move what is there away (bao secrets move)"
        for mount, body in MOUNTS.items()
        if state.mounts.get(mount, body["type"]) != body["type"]
    ]


def _settings(state: State) -> Iterator[Step]:
    for path, body in SETTINGS.items():
        if differs(state.settings.get(path), body):
            yield Step(f"configure {path}", "POST", path, body)


def _secrets(
    state: State, wanted: Mapping[str, Data], given: Mapping[str, Mapping[str, str]], overwrite: bool
) -> Iterator[Step]:
    for path, entry in sorted(wanted.items()):
        keys = state.secrets.get(path, Keys())
        # A value that is given is not generated.
        lengths = {**entry["generate"], **dict.fromkeys(given.get(path, {}), 0)}
        again = set(given.get(path, {})) if overwrite else set()
        absent = {name: lengths[name] for name in sorted(lengths) if name not in keys.names or name in again}
        if absent:
            verb = "write" if not any(absent.values()) else "generate"
            yield Step(f"{verb} {path}: {', '.join(absent)}", "KV", path, write=absent, keys=keys)


def missing(state: State, wanted: Data, given: Mapping[str, Mapping[str, str]] | None = None) -> list[str]:
    """Values that only an operator can give, and has not."""
    return [
        f"{path} {name}"
        for path, entry in sorted(wanted["secrets"].items())
        for name in entry["given"]
        if name not in state.secrets.get(path, Keys()).names and name not in (given or {}).get(path, {})
    ]


def _host(state: State, host: str, entry: Data) -> Iterator[Step]:
    name = paths.host_role(host)
    if state.policies.get(name) != entry["policy"]:
        yield Step(f"write policy {name}", "POST", f"sys/policies/acl/{name}", {"policy": entry["policy"]})
    for kind, path, body, found in (
        ("AppRole", f"{_APPROLE}/{name}", approle_body(host, entry["networks"]), state.approles.get(name)),
        (
            "certificate role",
            f"{paths.PKI_MOUNT}/roles/{name}",
            certificate_role_body(entry["certificates"]),
            state.certificate_roles.get(name),
        ),
    ):
        if differs(found, body):
            yield Step(f"write {kind} {name}", "POST", path, body)


def _removals(state: State, wanted: Data) -> Iterator[Step]:
    """Of hosts that are gone: way in first. Of an app that is removed: what the layout names."""
    kept = {paths.host_role(host) for host in wanted["hosts"]}
    for kind, found, path in (
        ("AppRole", state.approles, _APPROLE),
        ("certificate role", state.certificate_roles, f"{paths.PKI_MOUNT}/roles"),
        ("policy", state.policies, "sys/policies/acl"),
    ):
        for name in sorted(set(found) - kept):
            if name.startswith(HOST_PREFIX):
                yield Step(f"remove {kind} {name}", "DELETE", f"{path}/{name}")
    for name in wanted["removed"]["static_roles"]:
        if name in state.static_roles:
            yield Step(f"remove database role {name}", "DELETE", f"{paths.DATABASE_MOUNT}/static-roles/{name}")
    for path in wanted["removed"]["secrets"]:
        if state.secrets.get(path, Keys()).version:
            yield Step(f"remove {path} with all its versions", "DELETE", f"{paths.KV_MOUNT}/metadata/{path}")


_APPROLE = f"auth/{paths.APPROLE_MOUNT}/role"


def differs(found: Data | None, wanted: Data) -> bool:
    """Whether any wanted value is another one; what is not named in `wanted` is left alone."""
    return found is None or any(_plain(found.get(key)) != _plain(value) for key, value in wanted.items())


def _plain(value: Any) -> Any:
    """Lists without order, networks in one spelling: Vault gives a single address back without its mask."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return sorted(_network(item) for item in value)
    return value


def _network(value: Any) -> str:
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError:
        return str(value)


def refuse(state: State) -> None:
    """Raise VaultError where a mount's place is taken."""
    problems = mount_problems(state)
    if problems:
        raise VaultError("The layout of Vault was refused: " + "; ".join(problems) + ".")


def given_paths(layout: Data, given: Mapping[str, Mapping[str, str] | None]) -> dict[str, dict[str, str]]:
    """Values by scope and name to values by path and key; names that the layout does not have are refused together."""
    found: dict[str, dict[str, str]] = {}
    unknown = []
    for scope, values in given.items():
        for name, value in (values or {}).items():
            place = layout["names"].get(scope, {}).get(name)
            if place:
                found.setdefault(place["path"], {})[place["key"]] = str(value)
            elif not name.startswith("database_"):
                unknown.append(f"{scope}.{name}")
    if unknown:
        raise VaultError(
            f"given holds names that no app spec asks for: {', '.join(sorted(unknown))}. "
            "Remedy: correct the spelling, or add them to the app's secrets."
        )
    return found
