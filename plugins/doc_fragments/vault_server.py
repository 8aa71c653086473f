# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """What the modules that run on the Vault host have in common."""

    DOCUMENTATION = r"""
options:
  vault_address:
    description:
      - URL of Vault, such as C(https://10.0.0.9:8200), or of each of its nodes. Where one does not serve, the next one
        is asked.
    type: list
    elements: str
    required: true
  ca_file:
    description: Certificate of the authority that signed Vault's.
    type: path
    default: /etc/signalbox/tls/ca.crt
  credential:
    description:
      - The provisioner's credential, JSON with C(role_id) and C(secret_id), sealed to the host by C(systemd-creds)
        under the name of the file. The role vault makes it.
    type: path
    default: /etc/credstore.encrypted/signalbox-vault-provisioner
  timeout_seconds:
    description: How long one request may take.
    type: float
    default: 30.0
requirements:
  - python3-hvac on the host
  - systemd 250 or newer on the host
notes:
  - Runs on the Vault host, as root. It logs in once as the provisioner and ends its token before it returns.
"""
