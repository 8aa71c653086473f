# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The checks before an operation: the app specs, what the operator asked for, and what the control node has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import ROOT, normalise, parse_apps
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_inventory import (
    Inventory,
    check_inventory,
)
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_options import NAMES, check_options
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_variables import Variables, check_variables
from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import wanted_secrets
from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import (
    Compiler,
    Problem,
    Reading,
    closest,
    count,
    did_you_mean,
    key_text,
    lay_out_numbered,
    shorten,
    show,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_fields import quoting_remedy
from ansible_collections.signalbox.platform.plugins.module_utils._spec_grammar import image_registry
from ansible_collections.signalbox.platform.plugins.module_utils._spec_model import App

OPERATIONS = (
    "site",
    "deploy",
    "plan_migration",
    "rollback",
    "rotate",
    "revoke",
    "secret",
    "status",
    "remove",
    "backup",
    "drill",
    "restore",
    "restore_table",
    "restore_repository",
    "masked_copy",
    "refresh_staging",
    "rebuild",
    "promote",
)
# What works on a release that the operator names.
_TO_RELEASE = ("deploy", "plan_migration")
STRATEGIES = ("blue_green",)
LATER_STRATEGIES = ("canary", "rolling", "maintenance")
MINIMUM_CORE = (2, 19)
RUN_OPTIONS = ("app", "version", "strategy", "slot")
_VARIABLES = (ROOT, "signalbox_secrets", "signalbox_address")
# Other tools' own variables, which say nothing about the operator's spelling.
_FOREIGN_PREFIXES = ("awx_", "tower_", "ansible_", "semaphore_", "molecule_")
# What other tools call the version. Only a mistake where the version is missing.
_OTHER_VERSION_WORDS = ("tag", "ver", "release", "image_tag", "image_version", "app_version", "digest")
_BY_HAND = "Put its value in the vault file"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Situation:
    """All that the checks look at.

    `values` are those of the platform's own options, `options` names others. `secrets` holds names only; None where
    the play has not read them yet. `registry` is where images are pulled from, `authority` the host that the inventory
    says the certificate authority is on. `certificate_faults` tells what is wrong with the given certificate of an app.
    """

    operation: str
    apps: object
    inventory: Inventory
    app: object = None
    version: object = None
    strategy: object = None
    extra_vars: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    secrets: Mapping[str, Sequence[str]] | None = None
    registry: object = None
    authority: object = None
    variables: Variables = field(default_factory=Variables)
    certificate_faults: Mapping[str, str] = field(default_factory=dict)
    core_version: str = "2.19"
    has_jmespath: bool = True
    has_pglast: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the checks found. `app` is the app of the operation, also where only one exists and none was named."""

    operation: str
    app: str | None
    apps: Mapping[str, App]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = field(default=())

    @property
    def headline(self) -> str:
        target = f" of {self.app}" if self.app else ""
        found = count(len(self.problems), "mistake")
        return f"Preflight for {self.operation}{target} found {found}; nothing was touched."

    @property
    def message(self) -> str:
        return lay_out_numbered(self.headline, self.problems)


def check(situation: Situation, compile_expression: Compiler | None = None) -> Verdict:
    """Run every check, and collect all that is wrong."""
    apps, spec_problems = parse_apps(situation.apps, compile_expression)
    reading, warnings = Reading(), Reading()
    names = _names(situation.apps)
    for rule in (_control_node, _extra_vars, _version, _strategy, _values):
        for problem in rule(situation):
            reading.add(problem.path, problem.what, problem.remedy)
    app = _app(situation, names, reading)
    reading.problems.extend(spec_problems)
    chosen = {name: spec for name, spec in apps.items() if app in (None, name)}
    check_inventory(situation.operation, situation.inventory, chosen, reading, warnings)
    reading.problems.extend(_clients(chosen, situation.inventory))
    reading.problems.extend(_certificates(chosen, situation))
    reading.problems.extend(_authority(situation.authority, situation.inventory))
    if situation.secrets is not None:
        for problem in (
            *_secrets(situation.operation, chosen, situation.secrets),
            *_platform_secrets(situation, chosen, situation.secrets),
        ):
            reading.add(problem.path, problem.what, problem.remedy)
    reading.problems.extend(check_variables(situation.variables))
    return Verdict(situation.operation, app, apps, tuple(reading.problems), tuple(warnings.problems))


def _names(apps: object) -> list[str]:
    return [key_text(name) for name in apps] if isinstance(apps, dict) else []


def _control_node(situation: Situation) -> Iterator[Problem]:
    found = re.match(r"(\d+)\.(\d+)", situation.core_version)
    if found and (int(found.group(1)), int(found.group(2))) < MINIMUM_CORE:
        yield Problem(
            "control node",
            f"runs ansible-core {situation.core_version}; the oldest supported is {MINIMUM_CORE[0]}.{MINIMUM_CORE[1]}",
            "pip install -r requirements.txt",
        )
    if not situation.has_jmespath:
        yield Problem(
            "control node",
            "lacks the Python library jmespath, which reads the answers of health checks",
            "Install it for the Python that runs Ansible: pip install jmespath",
        )
    if situation.operation in _TO_RELEASE and not situation.has_pglast:
        yield Problem(
            "control node",
            "lacks the Python library pglast, with which the migration gate reads SQL",
            "Install it for the Python that runs Ansible: pip install -r requirements.txt",
        )


def _looks_like(name: str, situation: Situation) -> str | None:
    """The option that an -e name is probably a misspelling of."""
    known = (*RUN_OPTIONS, *NAMES, *situation.options)
    if name in known or name in _VARIABLES or name.lower().startswith(_FOREIGN_PREFIXES):
        return None
    if name in _OTHER_VERSION_WORDS:
        return "version" if situation.operation in _TO_RELEASE and _absent(situation.version) else None
    return closest(name.replace("-", "_"), (*known, *_VARIABLES), cutoff=0.8)


def _extra_vars(situation: Situation) -> Iterator[Problem]:
    for name in situation.extra_vars:
        meant = _looks_like(name, situation)
        if meant:
            yield Problem(
                f"-e {shorten(name)}", "is not a variable that this playbook reads", f"Did you mean -e {meant}?"
            )


def _values(situation: Situation) -> Iterator[Problem]:
    return check_options(situation.operation, situation.values, situation.extra_vars)


def _misspelt(option: str, situation: Situation) -> bool:
    return any(_looks_like(name, situation) == option for name in situation.extra_vars)


def _absent(value: object) -> bool:
    return value is None or value == ""


def _app(situation: Situation, names: Sequence[str], reading: Reading) -> str | None:
    """The app of the operation. None is all apps, or no app that could be told."""
    app = situation.app
    if not _absent(app):
        if not isinstance(app, str):
            reading.add("-e app", f"is {show(app)}, not the name of an app", quoting_remedy(app))
            return None
        if app not in names:
            reading.add("-e app", f"names {shorten(app)}, which {ROOT} does not have", did_you_mean(app, names, "apps"))
            return None
        return str(app)
    if situation.operation in (
        "site",
        "secret",
        "status",
        "backup",
        "drill",
        "restore",
        "restore_table",
        "restore_repository",
        "masked_copy",
        "refresh_staging",
        "rebuild",
        "promote",
    ):
        return None
    if not names:
        reading.add(ROOT, "describes no app", "Describe at least one; docs/app-spec.md has an example to copy")
        return None
    if len(names) == 1 and situation.operation != "remove":
        return names[0]
    if not _misspelt("app", situation):
        reading.add("-e app", "is missing", f"Name one of {', '.join(names)}: -e app={names[0]}")
    return None


def _version(situation: Situation) -> Iterator[Problem]:
    version, operation = situation.version, situation.operation
    if operation not in (*_TO_RELEASE, "rollback"):
        return
    if _absent(version):
        if operation in _TO_RELEASE and not _misspelt("version", situation):
            yield Problem("-e version", "is missing", "Say which release to deploy: -e version=1.4.2")
        return
    if not isinstance(version, str):
        remedy = quoting_remedy(version) if isinstance(version, float) else "Write it as a text: -e version=1.4.2"
        yield Problem("-e version", f"is {show(version)}, not a text", remedy)
    elif version == "latest":
        what = "is latest, which names another image every time, so that no rollback could find this one"
        yield Problem("-e version", what, "Name the release: -e version=1.4.2")
    elif not _TAG.fullmatch(version) and not _DIGEST.fullmatch(version):
        yield Problem("-e version", f"is not a version: {shorten(version)}", _version_remedy(version))


def _version_remedy(version: str) -> str:
    if version.startswith("sha256") or "@" in version:
        return "A digest is sha256: and 64 hexadecimal digits in lower case"
    if ":" in version or "/" in version:
        return "Write the tag alone, without the image: -e version={}".format(
            shorten(version.rpartition(":")[2].rpartition("/")[2]) or "1.4.2"
        )
    return "A tag has 1 to 128 letters, digits, dots, hyphens and underscores, with no dot or hyphen first"


def _strategy(situation: Situation) -> Iterator[Problem]:
    strategy = situation.strategy
    if situation.operation != "deploy" or _absent(strategy) or strategy in STRATEGIES:
        return
    if strategy in LATER_STRATEGIES:
        remedy = f"Leave it out, or write -e strategy={STRATEGIES[0]}"
        yield Problem("-e strategy", f"is {strategy}, which is not available in this version", remedy)
        return
    yield Problem("-e strategy", f"is {show(strategy)}", did_you_mean(strategy, STRATEGIES, "strategies"))


def _clients(apps: Mapping[str, App], inventory: Inventory) -> Iterator[Problem]:
    """The edges read the keys of clients from Vault."""
    for name, app in apps.items():
        if app.clients is not None and not inventory.groups.get("vault"):
            remedy = "Add the group vault, or leave clients out; they then present the app's own key"
            yield Problem(f"{ROOT}.{name}.clients", "needs Vault, and the inventory has no host in vault", remedy)


def _certificates(apps: Mapping[str, App], situation: Situation) -> Iterator[Problem]:
    edges = situation.inventory.groups.get("edge", ())
    for name, app in apps.items():
        if app.tls.source == "acme" and len(edges) > 1:
            what = (
                f"is acme, and there are {len(edges)} edges: the authority may ask another than the one that it answers"
            )
            yield Problem(
                f"{ROOT}.{name}.tls.source", what, "Write given with one certificate for all, or keep one edge"
            )
        if name in situation.certificate_faults:
            remedy = "Bring a pair in PEM that belongs together and names every domain of the app"
            yield Problem(f"{ROOT}.{name}.tls", situation.certificate_faults[name], remedy)


def _authority(named: object, inventory: Inventory) -> Iterator[Problem]:
    """The certificate authority stays where it is when the inventory's primary changes."""
    groups = inventory.groups
    if named and named not in groups.get("all", (named,)):
        yield Problem("signalbox_authority", f"names {show(named)}, which is no host of the inventory", "Name a host")
    if named or groups.get("vault") or not groups.get("postgresql_standby"):
        return
    first = (*groups.get("postgresql", ()), "HOST")[0]
    what = "is missing, and the certificate authority would go with the primary when a standby is promoted"
    remedy = f"Name the host that was the primary first: signalbox_authority: {first}"
    yield Problem("signalbox_authority", what, remedy)


def _secrets(operation: str, apps: Mapping[str, App], present: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """Secrets of apps that are wanted and not there."""
    if operation not in ("site", *_TO_RELEASE, "rollback"):
        return
    for name, app in apps.items():
        generated = wanted_secrets(normalise(app))
        there = present.get(name, ())
        for secret in dict.fromkeys([*app.secrets, *generated]):
            if secret not in there:
                yield _missing(name, secret, secret in generated)


def _platform_secrets(
    situation: Situation, apps: Mapping[str, App], present: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    """Secrets of the platform's own services: the registry's accounts, the cache's monitor, the backup's passphrase."""
    groups, wanted = situation.inventory.groups, []
    if situation.operation == "site":
        wanted += [("registry", "pull"), ("registry", "push")] if groups.get("registry") else []
        wanted += [("redis", "monitor")] if groups.get("redis") else []
        wanted += [("backup", "cipher")] if groups.get("backup") else []
        wanted += [("postgresql", "replication")] if groups.get("postgresql_standby") else []
    elif situation.operation in (*_TO_RELEASE, "rollback") and _logs_in(situation.registry, apps):
        wanted.append(("registry", "pull"))
    generated = {scope for scope in ("registry", "redis", "backup", "postgresql") if groups.get(scope)}
    for scope, secret in wanted:
        if secret not in present.get(scope, ()):
            yield _missing(scope, secret, scope in generated)


def _logs_in(registry: object, apps: Mapping[str, App]) -> bool:
    """Whether an image comes from the registry that the inventory names together with a user."""
    if not isinstance(registry, Mapping) or not registry.get("username"):
        return False
    return any(image_registry(app.image) == registry.get("address") for app in apps.values())


def _missing(scope: str, secret: str, generated: bool) -> Problem:
    remedy = "Run playbooks/secrets.yml, which generates what is missing" if generated else _BY_HAND
    return Problem(f"signalbox_secrets.{scope}.{secret}", "has no value", remedy)
