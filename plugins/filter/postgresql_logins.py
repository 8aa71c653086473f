# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: postgresql_logins
short_description: List who can log in to PostgreSQL with a password, and where
version_added: "0.1.0"
description:
  - Gives the logins of a database layout as M(signalbox.platform.postgresql_login) takes them.
  - The result holds passwords.
options:
  _input:
    description: Databases as M(signalbox.platform.postgresql_layout) takes them.
    type: list
    required: true
  roles:
    description: Roles as M(signalbox.platform.postgresql_layout) takes them.
    type: list
    elements: dict
    required: true
  passwords:
    description: Role name to password.
    type: dict
    required: true
author:
  - Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Prove the logins
  signalbox.platform.postgresql_login:
    address: 10.0.0.5
    ca_path: /etc/signalbox/tls/ca.crt
    logins: "{{ databases | signalbox.platform.postgresql_logins([], passwords) }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: Logins, each with user, database and password.
  type: list
  elements: dict
"""

from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_input import logins


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"postgresql_logins": logins}
