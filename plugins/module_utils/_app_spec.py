# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Reading app specs: from the inventory's mapping to checked apps, or to every mistake in it at once."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import (
    Compiler,
    Problem,
    Reading,
    count,
    key_text,
    lay_out,
    show,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_fields import INVALID
from ansible_collections.signalbox.platform.plugins.module_utils._spec_grammar import app_name
from ansible_collections.signalbox.platform.plugins.module_utils._spec_model import (
    DRAIN_MARGIN_SECONDS,
    App,
    Migrations,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_rules import check_app, check_together
from ansible_collections.signalbox.platform.plugins.module_utils._spec_section import Section

ROOT = "signalbox_apps"
ALEMBIC = {
    "current": ("alembic", "current"),
    "heads": ("alembic", "heads"),
    "upgrade": ("alembic", "upgrade", "head"),
    "downgrade": ("alembic", "downgrade", "{revision}"),
}


class SpecError(ValueError):
    """The specs have mistakes; the text lists every one of them."""

    def __init__(self, problems: list[Problem], root: str = ROOT) -> None:
        super().__init__(lay_out("{} has {}".format(root, count(len(problems), "mistake")), problems))
        self.problems = problems


def parse_apps(
    mapping: object, compile_expression: Compiler | None = None, root: str = ROOT
) -> tuple[dict[str, App], list[Problem]]:
    """Read every app. Returns the apps without mistakes, and all mistakes of all apps.

    Without `compile_expression` JMESPath expressions are not compiled.
    """
    reading = Reading(compile_expression)
    if not isinstance(mapping, dict):
        reading.add(root, f"is {show(mapping)}, not a mapping", "Write app names with their specs below them")
        return {}, reading.problems
    apps: dict[str, App] = {}
    for name, spec in mapping.items():
        app = _parse_app(name, spec, root, reading)
        if app is not None:
            apps[app.name] = app
    check_together(apps, root, reading)
    good = {name: app for name, app in apps.items() if not reading.refused(f"{root}.{name}")}
    return good, reading.problems


def normalise(app: App) -> dict[str, Any]:
    """The app as plain data, in the shape that roles and modules take."""
    plain = _plain(dataclasses.asdict(app))
    plain["secrets"] = {
        name: {"generate": secret.generate} if secret.generate else {} for name, secret in app.secrets.items()
    }
    plain["slot_ports"] = app.slot_ports
    return {"name": app.name, **plain}


def normalise_apps(
    mapping: object, compile_expression: Compiler | None = None, root: str = ROOT
) -> dict[str, dict[str, Any]]:
    """All apps as plain data; raises SpecError with every mistake."""
    apps, problems = parse_apps(mapping, compile_expression, root)
    if problems:
        raise SpecError(problems, root)
    return {name: normalise(app) for name, app in apps.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _parse_app(name: object, spec: object, root: str, reading: Reading) -> App | None:
    path = f"{root}.{key_text(name)}"
    if not isinstance(name, str):
        reading.add(path, f"is {show(name)}, not a name", "Put the name in quotes, with a letter first")
    else:
        for what, remedy in app_name(name):
            reading.add(path, what, remedy)
    # A mistake in the name must not silence the rules over the app's keys.
    inner = Reading(reading.compile_expression)
    app: Any = Section(App).read(spec, path, inner)
    if app is not INVALID:
        app = _complete(replace(app, name=key_text(name)))
        check_app(app, path, inner)
    reading.problems.extend(inner.problems)
    return None if app is INVALID else app


def _complete(app: App) -> App:
    """Fill in the defaults that follow from other keys."""
    drain = app.drain
    if not drain.deadline_seconds:
        drain = replace(drain, deadline_seconds=app.streams.max_seconds + DRAIN_MARGIN_SECONDS)
    database = app.database
    if database is not None and not database.name:
        database = replace(database, name=app.name.replace("-", "_"))
    return replace(
        app,
        container_port=app.container_port or app.port,
        drain=drain,
        database=database,
        migrations=_complete_migrations(app.migrations),
    )


def _complete_migrations(migrations: Migrations | None) -> Migrations | None:
    if migrations is None:
        return None
    seconds = migrations.statement_timeout_seconds or migrations.timeout_seconds
    migrations = replace(migrations, statement_timeout_seconds=seconds)
    if migrations.tool != "alembic":
        return migrations
    return replace(
        migrations,
        current=migrations.current or ALEMBIC["current"],
        heads=migrations.heads or ALEMBIC["heads"],
        upgrade=migrations.upgrade or ALEMBIC["upgrade"],
        downgrade=migrations.downgrade or ALEMBIC["downgrade"],
    )
