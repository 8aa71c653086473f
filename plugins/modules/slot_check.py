#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: slot_check
short_description: Prove that a host can start a slot, and bring its image
version_added: 1.0.0
author: Signalbox contributors (@signalbox)
description:
  - Reads the slot's secrets, logs in to its database and cache as the app will, and brings the image onto the host
    where there is room for it. A release does so on every app host before it touches anything.
  - All faults of a host are reported at once. Where there is one, the image is not pulled.
options:
  name:
    description: What is to be started, for messages.
    type: str
    required: true
  image:
    description: Image by digest, C(repository@sha256:...).
    type: str
    required: true
  secret_sources:
    description: Where in Vault the host reads secrets, name to source as the filter
      P(signalbox.platform.secret_sources#filter) gives it. Values are forgotten.
    type: dict
    default: {}
  secrets:
    description: Values by name, where the host does not fetch them itself.
    type: dict
    default: {}
  logins:
    description: Accounts to log in with, as the filter P(signalbox.platform.slot_logins#filter) gives them.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: Where to.
        type: str
        choices: [postgresql, redis]
        required: true
      user:
        description: Role of PostgreSQL or user of Redis.
        type: str
        required: true
      database:
        description: Database of PostgreSQL.
        type: str
        default: ""
      secret:
        description: Name of the secret that is the password.
        type: str
        required: true
  database_address:
    description: IP address of PostgreSQL, which its certificate carries.
    type: str
    default: ""
  cache_address:
    description: IP address of Redis, which its certificate carries.
    type: str
    default: ""
  ca_path:
    description: File with the CA's certificates.
    type: path
    default: /etc/signalbox/tls/ca.crt
  login_seconds:
    description: How long one login may take.
    type: int
    default: 10
  pull_seconds:
    description: How long the pull may take, all attempts together.
    type: int
    default: 600
extends_documentation_fragment: [signalbox.platform.image]
attributes:
  check_mode:
    support: full
    description: Looks for the image and for room, and pulls nothing.
  diff_mode:
    support: none
    description: No file is edited.
requirements:
  - Docker Engine 20.10 or newer
  - python3-psycopg2 for a database, which the role P(signalbox.platform.app#role) installs
seealso:
  - module: signalbox.platform.slot
  - module: signalbox.platform.vault_check
"""

EXAMPLES = r"""
- name: Prove that slot green can be started
  signalbox.platform.slot_check:
    name: agent-api-green
    image: registry.example.com:5000/agent-api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    secret_sources: "{{ signalbox_app_specs['agent-api'] | signalbox.platform.secret_sources('green') }}"
    logins: "{{ signalbox_app_specs['agent-api'] | signalbox.platform.slot_logins(['green']) }}"
    database_address: 10.0.0.31
    cache_address: 10.0.0.31
"""

RETURN = r"""
readable:
  description: Names of the secrets that have a value.
  type: list
  elements: str
  returned: success
accepted:
  description: Accounts that logged in, as C(service user).
  type: list
  elements: str
  returned: success
pulled:
  description: Whether the image had to be pulled.
  type: bool
  returned: success
faults:
  description: All that was wrong.
  type: list
  elements: str
  returned: failure
"""

import ssl

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import SECRET_LENGTH
from ansible_collections.signalbox.platform.plugins.module_utils._container_module import PULL_OPTIONS, puller_of
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine, EngineError
from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import ask_vault
from ansible_collections.signalbox.platform.plugins.module_utils._image_pull import ImageError
from ansible_collections.signalbox.platform.plugins.module_utils._image_reference import InvalidReference, parse_pinned
from ansible_collections.signalbox.platform.plugins.module_utils._service_login import (
    Server,
    postgresql_refusal,
    redis_refusal,
)
from ansible_collections.signalbox.platform.plugins.module_utils._slot_check import (
    Login,
    image_fault,
    login_faults,
    secret_faults,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None

PORTS = {"postgresql": 5432, "redis": 6379}
ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "secret_sources": {"type": "dict", "default": {}, "no_log": False},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "logins": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "service": {"type": "str", "choices": list(PORTS), "required": True},
            "user": {"type": "str", "required": True},
            "database": {"type": "str", "default": ""},
            "secret": {"type": "str", "required": True, "no_log": False},
        },
    },
    "database_address": {"type": "str", "default": ""},
    "cache_address": {"type": "str", "default": ""},
    "ca_path": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
    "login_seconds": {"type": "int", "default": 10},
    "pull_seconds": {"type": "int", "default": 600},
    **PULL_OPTIONS,
}


def secrets_of(module):
    """The values by name; from here on those that the host fetched are struck out of the answer, too."""
    given, sources = module.params["secrets"], module.params["secret_sources"]
    fetched = {name: str(value) for name, value in ask_vault(["fetch"], sources).items()} if sources else {}
    module.no_log_values |= {value for value in fetched.values() if len(value) >= SECRET_LENGTH}
    return {**{name: str(value) for name, value in given.items()}, **fetched}


def addresses_of(given):
    return {"postgresql": given["database_address"], "redis": given["cache_address"]}


def login_of(given):
    """How one login is tried from this host."""

    def attempt(login, password):
        address, seconds = addresses_of(given)[login.service], given["login_seconds"]
        server = Server(address, PORTS[login.service], given["ca_path"], timeout_seconds=seconds)
        if login.service == "redis":
            try:
                context = ssl.create_default_context(cafile=given["ca_path"])
            except OSError as error:
                return f"the CA's certificates in {given['ca_path']} cannot be read: {error}"
            return redis_refusal(context, server, login.user, password)
        if psycopg2 is None:
            return "this host has no python3-psycopg2, which the role app installs"
        return postgresql_refusal(psycopg2, server, login.user, login.database, password)

    return attempt


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    puller = puller_of(module, Engine(given["engine_socket"]))
    logins = [Login(**login) for login in given["logins"]]
    try:
        parse_pinned(given["image"])
        values, faults = secret_faults(logins, lambda: secrets_of(module))
        faults += login_faults(logins, values, addresses_of(given), login_of(given))
        room = image_fault(puller, given["image"])
        faults += [room] if room else []
        if not faults:
            pulled = not puller.present(given["image"]) if module.check_mode else puller.ensure(given["image"])[1]
    except (EngineError, ImageError, InvalidReference) as error:
        faults = [str(error)]
    if faults:
        module.fail_json(msg=f"{given['name']} could not be started here: {'; '.join(faults)}.", faults=faults)
    accepted = [f"{login.service} {login.user}" for login in logins]
    module.exit_json(changed=pulled, pulled=pulled, accepted=accepted, readable=sorted(values))


if __name__ == "__main__":
    main()
