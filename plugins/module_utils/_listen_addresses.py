# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses that a data service may listen on or be reached from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence


def address_problems(addresses: Sequence[str], public_allowed: bool = False, networks: bool = False) -> Iterator[str]:
    """A sentence for each address that is none, listens everywhere, or is public without leave."""
    for address in addresses:
        try:
            network = ipaddress.ip_network(address)
        except ValueError as error:
            kind = "network such as 10.0.0.0/24" if networks else "IP address"
            yield f"'{address}' is no {kind} ({error})"
            continue
        if not networks and "/" in str(address):
            yield f"'{address}' is a network; give the host's own address in it"
        elif network.prefixlen == 0 or network.network_address.is_unspecified:
            yield f"'{address}' means every address; name the private ones"
        elif not public_allowed and network.network_address.is_global:
            yield f"'{address}' is public; use a private address, or set the role's input public_listen_allowed"
