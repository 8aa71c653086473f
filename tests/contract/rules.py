"""The rules of this collection's files: each takes a checkout's root and returns what breaks it, and where."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import generate
import yaml
from tree import (
    COLLECTION,
    SECTIONS,
    Role,
    Task,
    all_tasks,
    as_list,
    load,
    parse,
    play_tasks,
    playbooks,
    plays,
    roles,
    strings,
)

Rule = Callable[[Path], list[str]]
RULES: list[Rule] = []

BUILTIN = "ansible.builtin."
INCLUDES = (BUILTIN + "include_tasks", BUILTIN + "import_tasks")
ROLE_INCLUDES = (BUILTIN + "include_role", BUILTIN + "import_role")
CONDITIONS = ("when", "until", "changed_when", "failed_when")
JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
SECRET_NAME = re.compile(r"(^|_)(password|passphrase|secret|token|(private|secret|api|access)_key|credential)s?$")
SECRET_TEXT = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\bhvs\.\w|\bAKIA[0-9A-Z]{16}\b")
OTHER_HOSTS = re.compile(r"\bhostvars\b|(?<![\w.'\"])groups\s*(\[|\.[a-z_]|\|)|\bin\s+groups\b")
LATEST = re.compile(r"""^[^#]*(\b(state|version|tag)\s*:\s*["']?latest\b|[\w/-]:latest\b)""")
PLAY_LINES = 25
# Roles that need the whole platform to run: role -> the test that runs it.
PROVEN_ELSEWHERE = {"release": "tests/e2e/test_life.py"}
ROLE_FILES = ("README.md", "meta/main.yml", "meta/argument_specs.yml", "defaults/main.yml")
GENERATED = """
    .git .cache .collections .lab .venv .venv-other .mypy_cache .pytest_cache .ruff_cache .hypothesis
    plugins/modules/__pycache__ inventories/lab/group_vars/all/vault.yml signalbox-platform-0.1.0.tar.gz
""".split()  # noqa: SIM905  paths without spaces, which read better so


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


@rule
def yaml_is_readable(root: Path) -> list[str]:
    problems = []
    for folder in ("roles", "playbooks", "molecule", "inventories", "extensions"):
        for path in sorted((root / folder).rglob("*.yml")):
            # A file below templates/ or files/ is whatever its program reads.
            if not {"templates", "files"} & set(path.relative_to(root).parts):
                try:
                    parse(path)
                except yaml.YAMLError as error:
                    problems.append(f"{path.relative_to(root)}: {' '.join(str(error).split())}")
    return problems


# Roles as contracts.


@rule
def role_is_complete(root: Path) -> list[str]:
    missing = [role.path / file for role in roles(root) for file in ROLE_FILES if not (role.path / file).is_file()]
    return [f"{path.relative_to(root)}: is missing" for path in missing]


@rule
def spec_equals_defaults(root: Path) -> list[str]:
    return [f"roles/{role.name}: {text}" for role in roles(root) for text in _spec_differences(role)]


def _spec_differences(role: Role) -> Iterator[str]:
    options, defaults = role.options(), role.defaults()
    for name in sorted(set(defaults) - set(options)):
        yield f"{name} has a default and no spec"
    for name, option in sorted(options.items()):
        if option.get("required") and name in defaults:
            yield f"{name} is required and yet has a default"
        elif "default" in option and name not in defaults:
            yield f"{name} has a default in the spec and none in defaults/main.yml"
        elif name in defaults and "default" not in option:
            yield f"{name} has a default in defaults/main.yml and none in the spec"
        elif name in defaults and not _same(defaults[name], option["default"]):
            yield f"{name} is {defaults[name]!r} in defaults/main.yml and {option['default']!r} in the spec"


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


@rule
def spec_is_described(root: Path) -> list[str]:
    problems = []
    for role in roles(root):
        for entry, spec in role.specs().items():
            where = f"roles/{role.name}: entry point {entry}"
            problems += [f"{where} has no {key}" for key in ("short_description", "description") if not spec.get(key)]
            problems += [f"roles/{role.name}: {text}" for text in _undescribed(spec.get("options") or {})]
            if not (role.path / f"tasks/{entry}.yml").is_file():
                problems.append(f"{where} has no tasks/{entry}.yml")
    return problems


def _undescribed(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, option in options.items():
        for key in ("description", "type"):
            if not option.get(key):
                yield f"{prefix}{name} has no {key}"
        if option.get("type") == "list" and not option.get("elements"):
            yield f"{prefix}{name} has no elements"
        yield from _undescribed(option.get("options") or {}, f"{prefix}{name}.")


@rule
def public_names_are_prefixed(root: Path) -> list[str]:
    problems = []
    for role in roles(root):
        public, internal = f"{role.name}_", f"__{role.name}_"
        names = [name for name in {**role.defaults(), **role.options()} if not name.startswith(public)]
        problems += [f"roles/{role.name}: the input {name} does not begin with {public}" for name in names]
        where = f"roles/{role.name}: vars/main.yml has"
        names = [name for name in role.constants() if not name.startswith(internal)]
        problems += [f"{where} {name}, which does not begin with {internal}" for name in names]
    return problems


@rule
def internal_names_are_prefixed(root: Path) -> list[str]:
    problems = []
    for role in roles(root):
        for task in role.tasks():
            told = _facts_in_readme(role)
            wrong = [
                name for name in _internal_names(task) if not name.startswith(f"__{role.name}_") and name not in told
            ]
            allowed = (f"__{role.name}_", f"{role.name}_", "ansible_", *_included_prefixes(task))
            wrong += [name for name in task.body.get("vars") or {} if not name.startswith(allowed)]
            problems += [f"{task.at(root)}: {name} does not begin with __{role.name}_" for name in wrong]
    return problems


def _facts_in_readme(role: Role) -> set[str]:
    """Facts that a role hands to the play: its own by name, each with a row of a table."""
    readme = role.path / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return set(re.findall(rf"^\| `({role.name}_\w+)` \|", text.partition("## Variables")[0], re.MULTILINE))


def _internal_names(task: Task) -> Iterator[str]:
    yield from as_list(task.body.get("register"))
    control = task.body.get("loop_control") or {}
    yield from (control[key] for key in ("loop_var", "index_var") if key in control)
    if task.action == BUILTIN + "set_fact":
        yield from (name for name in task.arguments if name != "cacheable")


def _included_prefixes(task: Task) -> tuple[str, ...]:
    if task.action not in ROLE_INCLUDES:
        return ()
    return (str(task.arguments.get("name", "")).rsplit(".", 1)[-1] + "_",)


@rule
def no_foreign_variables(root: Path) -> list[str]:
    owners = {name: role.name for role in roles(root) for name in {**role.defaults(), **role.options()}}
    problems = []
    for role in roles(root):
        others = [re.escape(name) for name, owner in owners.items() if owner != role.name]
        internals = [f"__{other.name}_\\w+" for other in roles(root) if other.name != role.name]
        if others or internals:
            foreign = re.compile(rf"(?<![\w.'\"])({'|'.join(others + internals)})\b")
            own = re.compile(rf"__{role.name}_\w+")
            found = [(where, name) for where, text in _expressions(root, role) for name in foreign.findall(text)]
            problems += [f"{where}: {name} belongs to another role" for where, name in found if not own.match(name)]
    return problems


@rule
def no_other_hosts_in_roles(root: Path) -> list[str]:
    found = [(where, OTHER_HOSTS.search(text)) for role in roles(root) for where, text in _expressions(root, role)]
    return [f"{where}: reads {match.group().strip()}; pass it in as an input" for where, match in found if match]


def _expressions(root: Path, role: Role) -> Iterator[tuple[str, str]]:
    """Text that Jinja evaluates, with its place."""
    for task in role.tasks():
        for key, value in task.body.items():
            if key not in SECTIONS:
                yield from ((task.at(root), text) for text in _evaluated(key, value))
    for file in [role.path / "defaults/main.yml", role.path / "vars/main.yml"]:
        yield from ((str(file.relative_to(root)), text) for text in _evaluated("", load(file)))
    for file in role.templates():
        text = file.read_text(encoding="utf-8", errors="replace")
        yield from ((str(file.relative_to(root)), part) for part in JINJA.findall(text))


def _evaluated(key: str, value: Any) -> Iterator[str]:
    for text in strings(value):
        yield from [text] if key in CONDITIONS else JINJA.findall(text)
    if isinstance(value, dict) and "that" in value:
        yield from strings(value["that"])


@rule
def every_notification_is_heard(root: Path) -> list[str]:
    problems = []
    for role in roles(root):
        handlers = [task for task in role.tasks("handlers") if not task.body.get("block")]
        topics = {topic for handler in handlers for topic in as_list(handler.body.get("listen"))}
        notified: set[str] = set()
        for task in role.tasks():
            called = set(_notified(task))
            notified |= called
            problems += [f"{task.at(root)}: nobody listens to {topic!r}" for topic in sorted(called - topics)]
        deaf = [handler for handler in handlers if not handler.body.get("listen")]
        problems += [f"{handler.at(root)}: listens to no topic" for handler in deaf]
        problems += [f"roles/{role.name}: nothing notifies {topic!r}" for topic in sorted(topics - notified)]
    return problems


def _notified(task: Task) -> Iterator[str]:
    """Topics; of an expression, the lists of literals in it."""
    for topic in as_list(task.body.get("notify")):
        if "{{" in topic:
            yield from re.findall(r"\[\s*'([^']+)'\s*\]", topic)
        else:
            yield topic


@rule
def every_role_has_a_scenario(root: Path) -> list[str]:
    covered = {name for name, test in PROVEN_ELSEWHERE.items() if (root / test).is_file()}
    for path in (root / "molecule").glob("*/*.yml"):
        covered |= _roles_run_by(root, path)
    return [f"roles/{role.name}: no molecule scenario runs it" for role in roles(root) if role.name not in covered]


def _roles_run_by(root: Path, path: Path) -> set[str]:
    if not isinstance(load(path), list):
        return set()
    names = set(_roles_of_plays(path))
    for play in plays(path):
        imported = play.get(BUILTIN + "import_playbook")
        if imported and "{{" not in imported:
            names |= _roles_run_by(root, (path.parent / imported).resolve())
    return names | {name for role in roles(root) if role.name in names for name in _roles_of_tasks(role.tasks())}


def _roles_of_plays(path: Path) -> Iterator[str]:
    for play in plays(path):
        for entry in play.get("roles") or []:
            yield str(entry.get("role") if isinstance(entry, dict) else entry).rsplit(".", 1)[-1]
    yield from _roles_of_tasks(list(play_tasks(path)))


def _roles_of_tasks(tasks: list[Task]) -> Iterator[str]:
    included = [task for task in tasks if task.action in ROLE_INCLUDES]
    yield from (str(task.arguments.get("name", "")).rsplit(".", 1)[-1] for task in included)


@rule
def readme_is_current(root: Path) -> list[str]:
    problems = []
    for readme in generate.readmes(root):
        try:
            if generate.refresh(readme, check=True):
                problems.append(f"{readme.relative_to(root)}: its variables are stale, run docs/generate.py")
        except ValueError as error:
            problems.append(str(error))
    return problems


# Paths that files name.


@rule
def every_included_file_exists(root: Path) -> list[str]:
    found = [(task, path) for role in roles(root) for task in role.tasks() for path in _missing_files(role, task)]
    problems = [f"{task.at(root)}: {path} does not exist" for task, path in found]
    for path in [*playbooks(root), *sorted((root / "molecule").glob("*/*.yml"))]:
        if isinstance(load(path), list):
            problems += [f"{path.relative_to(root)}: {name} does not exist" for name in _missing_from_plays(path)]
    for task in all_tasks(root):
        problems += [f"{task.at(root)}: {name} does not exist" for name in _missing_roles(root, task)]
    return problems


def _missing_files(role: Role, task: Task) -> list[str]:
    arguments = task.arguments
    if task.action in (*INCLUDES, BUILTIN + "include_vars"):
        name = str(arguments.get("file", "") if isinstance(arguments, dict) else arguments)
        places = [task.path.parent, role.path / ("vars" if task.action.endswith("vars") else "tasks")]
    elif task.action in (BUILTIN + "template", BUILTIN + "copy") and isinstance(arguments, dict) and "src" in arguments:
        name, places = str(arguments["src"]), [role.path / "templates", role.path / "files"]
        places = [] if arguments.get("remote_src") else places
    else:
        return []
    absent = places and name and "{{" not in name and not any((place / name).exists() for place in places)
    return [name] if absent else []


def _missing_from_plays(path: Path) -> Iterator[str]:
    for play in plays(path):
        for name in [*as_list(play.get("vars_files")), *as_list(play.get(BUILTIN + "import_playbook"))]:
            own_collection = name.startswith(COLLECTION + ".")
            if "{{" not in name and not own_collection and not (path.parent / name).exists():
                yield name


def _missing_roles(root: Path, task: Task) -> Iterator[str]:
    if task.action in ROLE_INCLUDES and isinstance(task.arguments, dict):
        name, entry = str(task.arguments.get("name", "")), str(task.arguments.get("tasks_from", "main"))
        if name.startswith(COLLECTION + ".") and "{{" not in name + entry:
            role = root / "roles" / name.rsplit(".", 1)[-1]
            if not (role / f"tasks/{entry.removesuffix('.yml')}.yml").is_file():
                yield f"{name} with tasks_from {entry}"


@rule
def every_shipped_tree_exists(root: Path) -> list[str]:
    problems = []
    for role in roles(root):
        for task in role.tasks():
            if task.action == COLLECTION + ".file_tree":
                problems += [f"{task.at(root)}: {path} does not exist" for path in _missing_trees(role, task)]
    return problems


def _missing_trees(role: Role, task: Task) -> Iterator[str]:
    kinds = {"src": "templates", "files_src": "files"}
    trees = {key: role.path / kind / str(task.arguments.get(key, ".")) for key, kind in kinds.items()}
    for key, tree in trees.items():
        if "{{" not in str(task.arguments.get(key, "{{")) and not tree.is_dir():
            yield str(tree.relative_to(role.path))
    text = task.path.read_text(encoding="utf-8")
    for path in set(re.findall(r"\{root\}(/[\w./@-]+)", text)):
        shipped = any((tree / (path[1:] + suffix)).exists() for tree in trees.values() for suffix in ("", ".j2"))
        if not shipped and not re.search(rf"path: [\"']?{re.escape(path)}\b", text):
            yield path


# Failures and secrets.


@rule
def no_failure_is_ignored(root: Path) -> list[str]:
    problems = []
    for task in all_tasks(root):
        ignored = [key for key in ("ignore_errors", "ignore_unreachable") if task.body.get(key) not in (None, False)]
        problems += [f"{task.at(root)}: has {key}; test for the one case that may fail" for key in ignored]
    for path in sorted({task.path for task in all_tasks(root)}):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            said = "# reason" in line or (number > 0 and "# reason" in lines[number - 1])
            if re.match(r"\s*(- )?failed_when:\s*(false|no|never)\b", line, re.IGNORECASE) and not said:
                where = f"{path.relative_to(root)}:{number + 1}"
                problems.append(f"{where}: failed_when: false needs a comment '# reason: ...'")
    return problems


@rule
def a_skipped_delegation_names_a_host(root: Path) -> list[str]:
    """Since ansible-core 2.20 an empty delegate_to fails the task before its condition is looked at."""
    problems = []
    for task in all_tasks(root):
        named = re.fullmatch(r"\{\{\s*(\w+)\s*\}\}", str(task.body.get("delegate_to", "")))
        if named and any(re.search(rf"\b{named[1]}\b", text) for text in task.conditions):
            problems.append(f"{task.at(root)}: delegate_to must hold a host where its condition does not")
    return problems


@rule
def no_secret_has_a_default(root: Path) -> list[str]:
    files = [role.path / file for role in roles(root) for file in ("defaults/main.yml", "vars/main.yml")]
    files += [file for folder in ("playbooks", "inventories") for file in sorted((root / folder).rglob("*.yml"))]
    problems = []
    for file in files:
        for name, value in _scalars(load(file)):
            refers = name == "secret" and value.isupper()  # an app spec names one of its secrets, as a variable
            named = SECRET_NAME.search(name) and value.strip() and "{{" not in value and not refers
            if named or SECRET_TEXT.search(value):
                problems.append(f"{file.relative_to(root)}: {name} holds what looks like a secret")
    return problems


def _scalars(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _scalars(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item, name)
    elif isinstance(value, str):
        yield name, value


@rule
def secret_inputs_are_declared(root: Path) -> list[str]:
    found = [(role, name) for role in roles(root) for name in _undeclared_secrets(role.options())]
    return [f"roles/{role.name}: {name} looks like a secret and its spec lacks no_log: true" for role, name in found]


def _undeclared_secrets(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, option in options.items():
        if SECRET_NAME.search(name) and option.get("type", "str") == "str" and option.get("no_log") is not True:
            yield prefix + name
        yield from _undeclared_secrets(option.get("options") or {}, f"{prefix}{name}.")


# Modules whose failures an operator must be able to read: they strike secret values out of their output.
SELF_CENSORING = tuple(
    f"{COLLECTION}.{name}"
    for name in ("app_run", "image_info", "migration_run", "slot", "slot_check", "vault_bootstrap", "vault_seal")
)


@rule
def secret_tasks_are_silent(root: Path) -> list[str]:
    problems = []
    for role in roles(root):
        names = [name for name, option in role.options().items() if _is_secret(option)]
        if not names:
            continue
        mentions = re.compile(rf"(?<![\w.'\"])({'|'.join(map(re.escape, names))})\b")
        for task in role.tasks():
            carried = {key: value for key, value in task.body.items() if key not in (*CONDITIONS, "name", *SECTIONS)}
            if task.action not in (BUILTIN + "assert", *SELF_CENSORING) and mentions.search(
                "\n".join(strings(carried))
            ):
                problems += [f"{task.at(root)}: {text}" for text in _loud(task)]
        problems += _shown_templates(root, role, mentions)
    return problems


def _is_secret(option: dict[str, Any]) -> bool:
    return option.get("no_log") is True or any(map(_is_secret, (option.get("options") or {}).values()))


def _loud(task: Task) -> Iterator[str]:
    if task.setting("no_log") is not True:
        yield "handles a secret without a literal no_log: true"
    if task.setting("diff") is not False:
        yield "handles a secret without diff: false"


def _shown_templates(root: Path, role: Role, mentions: re.Pattern[str]) -> Iterator[str]:
    """Templates with secrets are shipped by a file_tree whose rules call them secret."""
    ships = [task for task in role.tasks() if task.action == COLLECTION + ".file_tree"]
    rules = [entry for task in ships for entry in as_list(task.arguments.get("rules")) if isinstance(entry, dict)]
    for file in role.templates():
        parts = JINJA.findall(file.read_text(encoding="utf-8", errors="replace"))
        if ships and any(mentions.search(part) for part in parts):
            path = "/" + str(file.relative_to(role.path / "templates")).removesuffix(".j2")
            patterns = [str(entry["match"]) for entry in rules if entry.get("secret") is True]
            if not any(fnmatch(path, pattern) or fnmatch(path, "*" + pattern) for pattern in patterns):
                yield f"{file.relative_to(root)}: holds a secret and no file_tree rule calls it secret"


# Tasks and plays.


@rule
def every_action_is_fully_named(root: Path) -> list[str]:
    tasks = [task for task in all_tasks(root) if not task.body.get("block")]
    wrong = [task for task in tasks if not re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_.]+", task.action)]
    return [f"{task.at(root)}: {task.action or 'no action'} is not a full name" for task in wrong]


@rule
def phases_are_tagged(root: Path) -> list[str]:
    """A tag selects a whole phase; a dynamic include hands its tags on only with apply."""
    problems = []
    for role in roles(root):
        imports = [task for task in role.tasks() if task.action == BUILTIN + "import_tasks"]
        for task in imports:
            phase = Path(str(task.arguments)).stem
            wanted = [role.name, f"{role.name}_{phase}"]
            if task.path.name == "main.yml" and as_list(task.body.get("tags")) != wanted:
                problems.append(f"{task.at(root)}: its tags must be {wanted}")
        for task in role.tasks() if imports else []:
            applied = task.arguments.get("apply") or {} if isinstance(task.arguments, dict) else {}
            if task.action == BUILTIN + "include_tasks" and not applied.get("tags"):
                problems.append(
                    f"{task.at(root)}: include_tasks without apply: tags runs nothing when tags are asked for"
                )
    return problems


@rule
def playbooks_are_thin(root: Path) -> list[str]:
    problems = []
    for path in playbooks(root):
        marks = [(node.start_mark.line, node.end_mark.line) for node in _nodes(path)]
        for play, (first, last) in zip(plays(path), marks):
            where = f"{path.relative_to(root)}: {play.get('name', 'unnamed play')}"
            if not play.get("name"):
                problems.append(f"{where}: has no name")
            if not play.get("hosts") and BUILTIN + "import_playbook" not in play:
                problems.append(f"{where}: has no hosts")
            if last - first > PLAY_LINES:
                problems.append(f"{where}: has {last - first} lines, more than {PLAY_LINES}; move the work into a role")
        thick = [task for task in play_tasks(path) if not _is_thin(task)]
        problems += [f"{task.at(root)}: {task.action} belongs into a role" for task in thick]
    return problems


def _nodes(path: Path) -> list[yaml.Node]:
    node = yaml.compose(path.read_text(encoding="utf-8"))
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _is_thin(task: Task) -> bool:
    talk = [BUILTIN + name for name in ("assert", "debug", "fail", "meta", "group_by", "set_fact")]
    own = task.action.startswith(COLLECTION + ".")
    return own or task.action in (*ROLE_INCLUDES, *talk) or bool(task.body.get("block"))


@rule
def nothing_is_latest(root: Path) -> list[str]:
    problems = []
    for folder in ("roles", "playbooks", "molecule", "inventories", "lab", "extensions"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".yml", ".yaml", ".j2") or path.name == "Dockerfile":
                lines = path.read_text(encoding="utf-8").splitlines()
                found = [number for number, line in enumerate(lines, 1) if LATEST.match(line)]
                problems += [f"{path.relative_to(root)}:{number}: pins nothing (latest)" for number in found]
    return problems


# Plugins and packaging.


@rule
def modules_are_documented(root: Path) -> list[str]:
    problems = []
    for path in sorted((root / "plugins/modules").glob("*.py")):
        code = ast.parse(path.read_text(encoding="utf-8"))
        problems += [f"{path.relative_to(root)}: {text}" for text in _module_problems(path.stem, code)]
    return problems


def _module_problems(name: str, code: ast.Module) -> Iterator[str]:
    texts = {
        target.id: node.value.value
        for node in code.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    yield from (f"has no {part}" for part in ("DOCUMENTATION", "EXAMPLES", "RETURN") if not texts.get(part))
    document = yaml.safe_load(texts.get("DOCUMENTATION") or "") or {}
    if document.get("module") != name:
        yield f"its DOCUMENTATION describes {document.get('module')}"
    options = (document.get("options") or {}).items()
    yield from (f"option {option} has no description" for option, about in options if not about.get("description"))
    calls = [node for node in ast.walk(code) if isinstance(node, ast.keyword) and node.arg == "supports_check_mode"]
    if not any(isinstance(node.value, ast.Constant) and node.value.value is True for node in calls):
        yield "does not support check mode"


@rule
def the_package_leaves_out_what_is_generated(root: Path) -> list[str]:
    patterns = (load(root / "galaxy.yml") or {}).get("build_ignore") or []
    missing = [name for name in GENERATED if not any(fnmatch(name, pattern) for pattern in patterns)]
    return [f"galaxy.yml: build_ignore lets {name} into the package" for name in missing]


@rule
def roles_are_kept_apart(root: Path) -> list[str]:
    """Without these settings another role's defaults leak, and facts pose as variables."""
    problems = []
    for file, sign in (("ansible.cfg", "="), (".config/molecule/config.yml", ":")):
        text = (root / file).read_text(encoding="utf-8") if (root / file).is_file() else ""
        for key, value in (("private_role_vars", "true"), ("inject_facts_as_vars", "false")):
            if not re.search(rf"^\s*{key}\s*{sign}\s*{value}\s*$", text, re.MULTILINE | re.IGNORECASE):
                problems.append(f"{file}: must set {key} to {value}")
    return problems
