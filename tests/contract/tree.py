"""Reads a checkout for the contract rules: roles, tasks, playbooks. Nothing here judges."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

COLLECTION = "signalbox.platform"
# Everything in a task that is not its action; loops of old style begin with with_.
TASK_KEYWORDS = frozenset(
    """
    action any_errors_fatal args async become become_exe become_flags become_method become_user changed_when check_mode
    collections connection debugger delay delegate_facts delegate_to diff environment failed_when ignore_errors
    ignore_unreachable listen local_action loop loop_control module_defaults name no_log notify poll port register
    remote_user retries run_once tags throttle timeout until vars when block rescue always
    """.split()  # noqa: SIM905  a list of forty strings reads worse
)
SECTIONS = ("block", "rescue", "always")


class Loader(yaml.SafeLoader):
    """Understands Ansible's own tags."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: getattr(node, "value", None))


def parse(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


@functools.cache
def load(path: Path) -> Any:
    """The content of a file; None where it is missing or broken, which a rule of its own reports."""
    try:
        return parse(path) if path.is_file() else None
    except yaml.YAMLError:
        return None


@dataclass(frozen=True)
class Task:
    """A task with what it inherits from the blocks around it."""

    path: Path
    body: dict[str, Any]
    inherited: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.body.get("name", "unnamed task"))

    @property
    def action(self) -> str:
        return next((key for key in self.body if key not in TASK_KEYWORDS and not key.startswith("with_")), "")

    @property
    def arguments(self) -> Any:
        return self.body.get(self.action)

    @property
    def conditions(self) -> list[str]:
        """Its own and those of the blocks around it."""
        return [str(text) for text in [*as_list(self.inherited.get("when")), *as_list(self.body.get("when"))]]

    def setting(self, key: str) -> Any:
        return self.body.get(key, self.inherited.get(key))

    def at(self, root: Path) -> str:
        return f"{self.path.relative_to(root)}: {self.name}"


def tasks_in(path: Path, items: Any, inherited: dict[str, Any] | None = None) -> Iterator[Task]:
    """Every task and block, blocks before what they hold."""
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        yield Task(path, item, inherited or {})
        below = {**(inherited or {}), **{key: item[key] for key in ("no_log", "diff") if key in item}}
        below["when"] = [*as_list((inherited or {}).get("when")), *as_list(item.get("when"))]
        for section in SECTIONS:
            yield from tasks_in(path, item.get(section), below)


@dataclass(frozen=True)
class Role:
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def specs(self) -> dict[str, Any]:
        return (load(self.path / "meta/argument_specs.yml") or {}).get("argument_specs") or {}

    def options(self) -> dict[str, dict[str, Any]]:
        """Options of all entry points."""
        return {name: option for spec in self.specs().values() for name, option in (spec.get("options") or {}).items()}

    def defaults(self) -> dict[str, Any]:
        return load(self.path / "defaults/main.yml") or {}

    def constants(self) -> dict[str, Any]:
        return load(self.path / "vars/main.yml") or {}

    def tasks(self, *directories: str) -> list[Task]:
        folders = [self.path / name for name in directories or ("tasks", "handlers")]
        files = [file for folder in folders for file in sorted(folder.rglob("*.yml"))]
        return [task for file in files for task in tasks_in(file, load(file))]

    def templates(self) -> list[Path]:
        return sorted(file for file in (self.path / "templates").rglob("*") if file.is_file())


def roles(root: Path) -> list[Role]:
    return [Role(path) for path in sorted((root / "roles").glob("*")) if path.is_dir()]


def playbooks(root: Path) -> list[Path]:
    return sorted((root / "playbooks").glob("*.yml"))


def plays(path: Path) -> list[dict[str, Any]]:
    return [play for play in load(path) or [] if isinstance(play, dict)]


def play_tasks(path: Path) -> Iterator[Task]:
    for play in plays(path):
        for section in ("pre_tasks", "tasks", "post_tasks", "handlers"):
            yield from tasks_in(path, play.get(section))


def all_tasks(root: Path) -> list[Task]:
    """Tasks of roles, playbooks and molecule scenarios."""
    found = [task for role in roles(root) for task in role.tasks()]
    for path in [*playbooks(root), *sorted((root / "molecule").glob("*/*.yml"))]:
        if isinstance(load(path), list):
            found += play_tasks(path)
    return found


def strings(value: Any) -> Iterator[str]:
    """All text in a value, mapping keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
