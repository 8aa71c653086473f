#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: migration_run
short_description: Run an app's migration once, with bounded waits for locks
version_added: "0.1.0"
author: Signalbox contributors (@signalbox)
description:
  - Runs one command of the app's image as M(signalbox.platform.app_run) does, beside a session of its own that logs in
    as the owner of the database.
  - That session gives the owner C(lock_timeout) and C(statement_timeout) in this database (C(ALTER ROLE ... IN DATABASE
    ... SET)), which every driver gets with its login, and proves that a new session has them. It holds an advisory
    lock, so that a second run is refused, and sees who holds what the migration waits for.
  - A command that failed because it could not have a lock (SQLSTATE 55P03) is run again, after growing and jittered
    pauses, if its transaction was rolled back. Nothing else is, and there is no last attempt without a limit.
  - Indexes that are not valid, from a concurrent build that did not end, are named. They stop the run before it begins,
    and fail it afterwards even where the command succeeded.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  image:
    description: Image by digest, C(repository@sha256:...). It is pulled when missing.
    type: str
    required: true
  command:
    description: The whole command line.
    type: list
    elements: str
    required: true
  login:
    description: The owner's account, as the filter P(signalbox.platform.slot_logins#filter) gives it.
    type: dict
    required: true
    suboptions:
      service:
        description: Always V(postgresql).
        type: str
        choices: [postgresql]
        default: postgresql
      user:
        description: The role.
        type: str
        required: true
      database:
        description: The database.
        type: str
        required: true
      secret:
        description: Name of the secret that is the password, in O(secret_sources) or O(secrets).
        type: str
        required: true
  secrets:
    description: Values by name, where the host does not fetch them itself.
    type: dict
    default: {}
  database_address:
    description: IP address of PostgreSQL, which its certificate carries.
    type: str
    required: true
  database_port:
    description: Port of PostgreSQL itself, not of a pooler.
    type: int
    default: 5432
  ca_path:
    description: File with the CA's certificates.
    type: path
    default: /etc/signalbox/tls/ca.crt
  lock_timeout_seconds:
    description: How long a statement may wait for a lock.
    type: float
    default: 5
  statement_timeout_seconds:
    description: How long one statement may run; 0 for as long as O(timeout_seconds).
    type: float
    default: 0
  checks:
    description:
      - Queries that return no row when the data is whole. They run after the migration as the owner, in transactions
        that cannot write; where one returns a row the module fails.
    type: list
    elements: str
    default: []
  lock_attempts:
    description: How many times the command is run at most while it cannot have a lock.
    type: int
    default: 5
  timeout_seconds:
    description: How long all attempts and pauses may take together. Then the container is stopped, and what it left
      running on the server is ended.
    type: float
    default: 600
extends_documentation_fragment: [signalbox.platform.container, signalbox.platform.image]
attributes:
  check_mode:
    support: full
    description: Nothing runs.
  diff_mode:
    support: none
    description: What a command changes is not known.
requirements:
  - Docker Engine 20.10 or newer
  - python3-psycopg2, which the role P(signalbox.platform.app#role) installs
seealso:
  - module: signalbox.platform.app_run
  - module: signalbox.platform.migration_gate
"""

EXAMPLES = r"""
- name: Migrate in the new image
  signalbox.platform.migration_run:
    app: agent-api
    image: registry.example.com:5000/agent-api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    command: [alembic, upgrade, head]
    environment:
      DATABASE_URL: postgresql+asyncpg://agent_api_owner:${signalbox:url:database_owner}@10.0.0.31:5432/agent_api
    secret_sources: "{{ signalbox_app_specs['agent-api'] | signalbox.platform.secret_sources('owner') }}"
    login: "{{ signalbox_app_specs['agent-api'] | signalbox.platform.slot_logins(['owner']) | first }}"
    database_address: 10.0.0.31
    lock_timeout_seconds: 5
"""

RETURN = r"""
attempts:
  description: How many times the command ran.
  type: int
  returned: when it ran
waited_for:
  description: Sessions that were seen to hold what the migration waited for, as role, process id and application.
  type: list
  elements: str
  returned: when it ran
revisions:
  description: What C(alembic_version) holds now; empty without Alembic.
  type: list
  elements: str
  returned: when it ran
rc:
  description: Exit code of the last attempt.
  type: int
  returned: when it ran
stdout:
  description: The last 64 KiB of its standard output, without secret values.
  type: str
  returned: when it ran
stderr:
  description: The last 64 KiB of its standard error, without secret values.
  type: str
  returned: when it ran
timed_out:
  description: Whether the time limit ended it.
  type: bool
  returned: when it ran
seconds:
  description: How long the last attempt took.
  type: float
  returned: when it ran
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_run as rules
from ansible_collections.signalbox.platform.plugins.module_utils._compose import Resources
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import normalise
from ansible_collections.signalbox.platform.plugins.module_utils._container_module import (
    RUN_FAILURES,
    RUN_OPTIONS,
    delivered,
    end_on_signals,
    guard,
    one_shot_of,
    puller_of,
    redacted,
    told,
)
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine
from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import ask_vault
from ansible_collections.signalbox.platform.plugins.module_utils._image_pull import images_held
from ansible_collections.signalbox.platform.plugins.module_utils._migration_run_database import OPTIONS, OwnerDatabase
from ansible_collections.signalbox.platform.plugins.module_utils._one_shot import execute, files_for, remove_leftovers
from ansible_collections.signalbox.platform.plugins.module_utils._service_login import Server, postgresql_options

try:
    import psycopg2
except ImportError:
    psycopg2 = None

ARGUMENTS = {
    **RUN_OPTIONS,
    "command": {"type": "list", "elements": "str", "required": True},
    "login": {
        "type": "dict",
        "required": True,
        "options": {
            "service": {"type": "str", "choices": ["postgresql"], "default": "postgresql"},
            "user": {"type": "str", "required": True},
            "database": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
        },
    },
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "database_address": {"type": "str", "required": True},
    "database_port": {"type": "int", "default": 5432},
    "ca_path": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
    "lock_timeout_seconds": {"type": "float", "default": 5},
    "statement_timeout_seconds": {"type": "float", "default": 0},
    "checks": {"type": "list", "elements": "str", "default": []},
    "lock_attempts": {"type": "int", "default": 5},
}


def database_of(given, password):
    """The owner's own session, with the timeouts that the migration's are to have."""
    server = Server(given["database_address"], given["database_port"], given["ca_path"])
    login = given["login"]
    options = postgresql_options(server, login["user"], login["database"], password)
    timeouts = {
        "lock_timeout": given["lock_timeout_seconds"],
        "statement_timeout": given["statement_timeout_seconds"] or given["timeout_seconds"],
    }
    return OwnerDatabase(
        lambda: psycopg2.connect(**options, application_name="signalbox-migration", options=OPTIONS), timeouts
    )


def run(module):
    """Bring the image, log in as the owner, and run the command until it is done or given up."""
    given = module.params
    fetched = {}

    def ask(arguments, sources):
        fetched.update(ask_vault(arguments, sources))
        return fetched

    engine = Engine(given["engine_socket"])
    environment = delivered(module, normalise(given["environment"]), ask)
    password = str({**given["secrets"], **fetched}.get(given["login"]["secret"]) or "")
    if not password:
        raise rules.Refused(f"{given['login']['secret']} has no value, so nobody can log in as the owner")
    module.no_log_values = set(module.no_log_values) | {password}
    engine_limits, _root = engine.info()
    resources, warnings = engine_limits.allow(Resources(**given["resources"]))
    for warning in warnings:
        module.warn(warning)
    one_shot = one_shot_of(given, resources, "migrate", [])
    with images_held():
        image, _pulled = puller_of(module, engine).ensure(one_shot.image)
        remove_leftovers(engine, one_shot)
        with files_for(one_shot, environment), database_of(given, password) as database:
            limits = rules.Limits(given["timeout_seconds"], given["lock_attempts"])
            attempt = lambda seconds: execute(engine, one_shot, image, seconds)  # noqa: E731  it is one expression
            return rules.Run(database, attempt, limits, given["checks"], warn=module.warn).run()


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    invocation = guard(module)
    app = module.params["app"]
    if module.params["lock_attempts"] < 1 or module.params["lock_timeout_seconds"] <= 0:
        module.fail_json(
            msg=f"{app}: lock_attempts and lock_timeout_seconds must be more than 0", invocation=invocation
        )
    if module.check_mode:
        module.exit_json(changed=True, msg="not run in check mode", invocation=invocation)
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"), invocation=invocation)
    end_on_signals()
    try:
        outcome = run(module)
    except (*RUN_FAILURES, rules.Refused) as error:
        module.fail_json(msg=f"{app}: migrate: {error}", invocation=invocation)
    except psycopg2.Error as error:
        reason = " ".join(str(error).split())
        module.fail_json(msg=f"{app}: migrate: the owner's session at the database: {reason}", invocation=invocation)
    outcome.ended = redacted(outcome.ended, module.no_log_values)
    result = {
        "attempts": outcome.attempts,
        "waited_for": outcome.waited_for,
        "revisions": list(outcome.revisions),
        **told(outcome.ended),
        "invocation": invocation,
    }
    if outcome.problem:
        module.fail_json(msg=f"{app}: the migration {rules.told(outcome)}", changed=outcome.changed, **result)
    module.exit_json(changed=outcome.changed, **result)


if __name__ == "__main__":
    main()
