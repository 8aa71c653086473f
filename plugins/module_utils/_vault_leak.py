# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a leak touches: the paths whose readers are of interest, and the app's own secrets that need a new value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths

CLIENT_KEYS = ("current", "previous")


class UnknownLeak(ValueError):
    """Names nothing that can leak; says what may be named."""


def leak(spec: Mapping[str, Any], leaked: str, hosts: Sequence[str], edges: Sequence[str] = ()) -> dict[str, Any]:
    """What a leak touches.

    C(paths) as Vault's API has them; C(secrets), names of the app's own secrets to give a new value; C(clients), which
    of the clients' keys are refused from now on (current, previous, own, all), empty for none.
    """
    kind, _, name = leaked.partition("/")
    if kind == "database" and not name and spec["database"] is not None:
        return _touched(_database(spec))
    if kind == "cache" and not name and spec["cache"] is not None:
        return _touched(_cache(spec))
    if leaked == "registry":
        return _touched([_kv(paths.platform("registry"))])
    if kind == "secret" and name in _generated(spec):
        # Clients may still present the app's own key, and then it stands among theirs too.
        own = "own" if (spec.get("clients") or {}).get("secret") == name else ""
        return _touched([*_own(spec), *(_clients(spec) if own else ())], [name], own)
    if kind == "clients" and spec.get("clients") and name in CLIENT_KEYS:
        return _touched(_clients(spec), clients=name)
    if kind == "host" and name in hosts:
        read = [*_database(spec), *_cache(spec), *_own(spec), *_clients(spec)]
        return _touched(read, _generated(spec), "all" if spec.get("clients") and name in edges else "")
    clients = [f"clients/{one}" for one in CLIENT_KEYS] if spec.get("clients") else []
    known = [*_plain(spec), *clients, *(f"secret/{one}" for one in _generated(spec)), *(f"host/{one}" for one in hosts)]
    raise UnknownLeak(f"leaked is {leaked or 'missing'}; it must be one of {', '.join(known)}")


def _touched(read: Iterable[str], secrets: Sequence[str] = (), clients: str = "") -> dict[str, Any]:
    return {"paths": list(read), "secrets": list(secrets), "clients": clients}


def _own(spec: Mapping[str, Any]) -> list[str]:
    return [_kv(paths.app_secrets(spec["name"]))] if spec["secrets"] else []


def _clients(spec: Mapping[str, Any]) -> list[str]:
    return [_kv(paths.app_clients(spec["name"]))] if spec.get("clients") else []


def _plain(spec: Mapping[str, Any]) -> list[str]:
    return [word for word in ("database", "cache") if spec[word] is not None] + ["registry"]


def _generated(spec: Mapping[str, Any]) -> list[str]:
    """A value that an operator brought is replaced where it comes from."""
    return sorted(name for name, secret in spec["secrets"].items() if secret.get("generate"))


def _database(spec: Mapping[str, Any]) -> Iterator[str]:
    if spec["database"] is not None:
        for role in paths.DATABASE_ROLES:
            yield f"{paths.DATABASE_MOUNT}/static-creds/{paths.database_role(spec, role)}"


def _cache(spec: Mapping[str, Any]) -> Iterator[str]:
    if spec["cache"] is not None:
        for slot in ("blue", "green"):
            yield _kv(paths.app_cache(spec["name"], slot))


def _kv(path: str) -> str:
    return f"{paths.KV_MOUNT}/data/{path}"
