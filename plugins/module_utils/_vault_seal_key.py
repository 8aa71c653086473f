# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of a static seal's key: what its server is configured with, and whether it may be replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError

_IDS = re.compile(r'^\s*(current|previous)_key_id\s*=\s*"([^"]*)"', re.MULTILINE)


@dataclass(frozen=True)
class Seen:
    """What was found on a node."""

    current: str = ""
    previous: str = ""
    loaded: bool = False  # the server runs with the current key
    recovery_keys: bool = False


def configured(text: str) -> dict[str, str]:
    """Names of the keys in the server's configuration, C(current) and C(previous), as far as they are there."""
    return dict(_IDS.findall(text))


def previous_key(seen: Seen, wanted: str, operators: bool) -> str:
    """Name of the key that the configuration must have beside the wanted one, for what is still encrypted with it.

    A server encrypts what it stored anew when it becomes the leader with another current key. So the one before is
    known until then, and stays until the next one comes.
    """
    if seen.current in ("", wanted):
        return seen.previous
    back = f"Set vault_seal_key_id to '{seen.current}' again"
    if not operators:
        raise BootstrapError(
            f"vault_seal_key_id: '{wanted}' would be a new key, and vault_pgp_keys is empty: nobody could be handed "
            f"its escrow. {back}, or name the operators."
        )
    if not seen.loaded:
        raise BootstrapError(
            f"vault_seal_key_id: '{wanted}' is refused, for the server does not run with '{seen.current}' yet, which "
            f"it is configured with: its storage may need the key before. {back}, run the role, and then go on."
        )
    if not seen.recovery_keys:
        raise BootstrapError(
            f"vault_seal_key_id: '{wanted}' is refused, for OpenBao takes another key only where there are recovery "
            f"keys, and this server was initialised without any. {back}."
        )
    return seen.current


def handouts(encrypted: Mapping[str, str], key_id: str, cluster: str) -> dict[str, str]:
    """Name of the file, without its end, to JSON text. The earlier key's stays, for snapshots from before."""
    texts = {}
    for name, key in encrypted.items():
        file = f"{name}.seal-key-{key_id}"
        document = {
            "operator": name,
            "cluster": cluster,
            "kind": "seal key",
            "seal_key_id": key_id,
            "seal_key": key,
            "open_the_seal_key": f"jq -r .seal_key {file}.json | base64 -d | gpg --decrypt",
        }
        texts[file] = json.dumps(document, indent=2) + "\n"
    return texts
