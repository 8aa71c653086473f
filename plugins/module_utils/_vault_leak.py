# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a leak touches: the paths whose readers are of interest, and the app's own secrets that need a new value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths

Spec = Mapping[str, Any]
Specs = Mapping[str, Spec]

CLIENT_KEYS = ("current", "previous")


class UnknownLeak(ValueError):
    """Names nothing that can leak; says what may be named."""


def leak(specs: Specs, app: str, leaked: str, hosts: Sequence[str], edges: Sequence[str] = ()) -> dict[str, Any]:
    """What a leak touches.

    C(paths) as Vault's API has them, and C(apps): by name C(secrets), names of the app's own secrets to give a new
    value, and C(clients), which of the clients' keys are refused from now on (current, previous, own, all), empty for
    none. C(app) is the app whose secret leaked. What a host may read is of every app.
    """
    kind, _, name = leaked.partition("/")
    if kind == "host" and name in hosts:
        touched = {one: _all_of(spec, name in edges) for one, spec in specs.items()}
    elif leaked == "registry":
        return {"paths": [_kv(paths.platform("registry"))], "apps": {}}
    else:
        found = _of_app(specs[app], kind, name) if app in specs else None
        if found is None:
            raise UnknownLeak(
                f"leaked is {leaked or 'missing'}; it must be one of {', '.join(_known(specs, app, hosts))}"
            )
        touched = {app: found}
    return {
        "paths": [path for one in touched.values() for path in one["paths"]],
        "apps": {one: {"secrets": of["secrets"], "clients": of["clients"]} for one, of in touched.items()},
    }


def _all_of(spec: Spec, edge: bool) -> dict[str, Any]:
    read = [*_database(spec), *_cache(spec), *_own(spec), *_clients(spec)]
    return _touched(read, _generated(spec), "all" if spec.get("clients") and edge else "")


def _of_app(spec: Spec, kind: str, name: str) -> dict[str, Any] | None:
    """What the leak of one of the app's secrets touches; None where it has none of that name."""
    if kind == "database" and not name and spec["database"] is not None:
        return _touched(_database(spec))
    if kind == "cache" and not name and spec["cache"] is not None:
        return _touched(_cache(spec))
    if kind == "secret" and name in _generated(spec):
        # Clients may still present the app's own key, and then it stands among theirs too.
        own = "own" if (spec.get("clients") or {}).get("secret") == name else ""
        return _touched([*_own(spec), *(_clients(spec) if own else ())], [name], own)
    if kind == "clients" and spec.get("clients") and name in CLIENT_KEYS:
        return _touched(_clients(spec), clients=name)
    return None


def _known(specs: Specs, app: str, hosts: Sequence[str]) -> list[str]:
    """What may be named."""
    of_hosts = [f"host/{one}" for one in hosts]
    if app not in specs:
        return ["registry", *of_hosts, "or, with -e app=NAME, one of that app's secrets"]
    spec = specs[app]
    clients = [f"clients/{one}" for one in CLIENT_KEYS] if spec.get("clients") else []
    return [*_plain(spec), *clients, *(f"secret/{one}" for one in _generated(spec)), *of_hosts]


def _touched(read: Iterable[str], secrets: Sequence[str] = (), clients: str = "") -> dict[str, Any]:
    return {"paths": list(read), "secrets": list(secrets), "clients": clients}


def _own(spec: Spec) -> list[str]:
    return [_kv(paths.app_secrets(spec["name"]))] if spec["secrets"] else []


def _clients(spec: Spec) -> list[str]:
    return [_kv(paths.app_clients(spec["name"]))] if spec.get("clients") else []


def _plain(spec: Spec) -> list[str]:
    return [word for word in ("database", "cache") if spec[word] is not None] + ["registry"]


def _generated(spec: Spec) -> list[str]:
    """A value that an operator brought is replaced where it comes from."""
    return sorted(name for name, secret in spec["secrets"].items() if secret.get("generate"))


def _database(spec: Spec) -> Iterator[str]:
    if spec["database"] is not None:
        for role in paths.DATABASE_ROLES:
            yield f"{paths.DATABASE_MOUNT}/static-creds/{paths.database_role(spec, role)}"


def _cache(spec: Spec) -> Iterator[str]:
    if spec["cache"] is not None:
        for slot in ("blue", "green"):
            yield _kv(paths.app_cache(spec["name"], slot))


def _kv(path: str) -> str:
    return f"{paths.KV_MOUNT}/data/{path}"
