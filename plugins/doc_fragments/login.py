# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that prove logins over verified TLS; port and accounts are each module's own."""

    DOCUMENTATION = r"""
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Never changes anything.
options:
  address:
    description: IP address to connect to.
    type: str
    required: true
  server_name:
    description: Name that the server's certificate must carry; O(address) where empty.
    type: str
    default: ""
  ca_path:
    description: File with the CA's certificates.
    type: path
    required: true
  timeout_seconds:
    description: How long one login may take.
    type: int
    default: 10
"""
