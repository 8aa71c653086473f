# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of file_tree: what a tree wants and how it travels. No I/O, no Ansible."""

from __future__ import annotations

import base64
import json
import posixpath
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

FORMAT = 1
FILE, LINK, DIRECTORY, ABSENT, OTHER = "file", "link", "directory", "absent", "other"
RULE_KEYS = {"match", "owner", "group", "mode", "directory_mode", "secret"}
EXTRA_KEYS = {"path", "content", "link", "directory", "owner", "group", "mode", "secret"}
WILDCARDS = frozenset("*?[")


class FileTreeError(ValueError):
    """A mistake in the tree, its rules or its state on the host; the text says how to mend it."""


@dataclass(frozen=True)
class Rule:
    match: str
    owner: str = "root"
    group: str = "root"
    mode: int | None = None
    directory_mode: int | None = None
    secret: bool = False


@dataclass(frozen=True)
class Entry:
    """One path the tree wants; content is empty for links and directories."""

    path: str
    kind: str = FILE
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    secret: bool = False
    enforce: bool = True  # a directory that is not enforced only has to exist
    target: str = ""
    content: bytes = field(default=b"", repr=False)


def parse_mode(value: object, where: str) -> int:
    """Octal text only: an unquoted YAML 0640 and 640 are different integers, and nobody sees which one arrived."""
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3,4}", value):
        return int(value, 8)
    raise FileTreeError(f'{where}: mode {value!r} is not quoted octal text; write it as "0640"')


def _check_keys(item: Mapping[str, object], allowed: set[str], where: str) -> None:
    unknown = sorted(set(item) - allowed)
    if unknown:
        known = ", ".join(sorted(allowed))
        raise FileTreeError(f"{where}: unknown key {', '.join(unknown)}; known are {known}")


def parse_rules(items: Iterable[Mapping[str, Any]]) -> list[Rule]:
    rules = []
    for number, item in enumerate(items):
        where = f"rules[{number}]"
        _check_keys(item, RULE_KEYS, where)
        if not isinstance(item.get("match"), str) or not item["match"]:
            raise FileTreeError(f'{where}: match is required: a pattern such as "/etc/redis/*"')
        rules.append(
            Rule(
                match=item["match"],
                owner=str(item.get("owner") or "root"),
                group=str(item.get("group") or "root"),
                mode=_optional_mode(item.get("mode"), where),
                directory_mode=_optional_mode(item.get("directory_mode"), where),
                secret=bool(item.get("secret", False)),
            )
        )
    return rules


def _optional_mode(value: object, where: str) -> int | None:
    return None if value is None else parse_mode(value, where)


def destination(dest: str, relative: str) -> str:
    """Absolute destination of a path of the tree; refuses to leave dest."""
    if not dest.startswith("/"):
        raise FileTreeError(f"dest {dest!r} is not an absolute path")
    parts = [part for part in relative.split("/") if part]
    if not parts or any(part in (".", "..") for part in parts) or "\0" in relative:
        raise FileTreeError(f"path {relative!r} is empty or leaves the tree ('.' and '..' are not allowed)")
    return posixpath.join(posixpath.normpath(dest).replace("//", "/"), *parts)


def shipped_path(relative: str, template: bool) -> str:
    """Destination of a source file: a template's suffix is dropped."""
    return relative[:-3] if template and relative.endswith(".j2") else relative


def match_any(patterns: Iterable[str], path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def match_rule(rules: Sequence[Rule], path: str) -> Rule | None:
    return next((rule for rule in rules if fnmatchcase(path, rule.match)), None)


def directory_bits(mode: int) -> int:
    """A mode for files made usable for directories: whoever may read may also enter."""
    return mode | ((mode & 0o444) >> 2)


def entry_from_rules(
    rules: Sequence[Rule], path: str, kind: str = FILE, content: bytes = b"", target: str = ""
) -> Entry:
    """First matching rule wins; no rule is root:root 0644, directories 0755."""
    rule = match_rule(rules, path) or Rule(match="*")
    if kind == DIRECTORY:
        mode = rule.directory_mode
        if mode is None:
            mode = 0o755 if rule.mode is None and not rule.secret else directory_bits(rule.mode or 0o600)
        named = rule.match == path and not WILDCARDS & set(rule.match)
        return Entry(path, DIRECTORY, rule.owner, rule.group, mode, rule.secret, named)
    mode = rule.mode if rule.mode is not None else (0o600 if rule.secret else 0o644)
    return Entry(path, kind, rule.owner, rule.group, mode, rule.secret, True, target, content)


def entry_from_extra(item: Mapping[str, Any], dest: str, rules: Sequence[Rule], number: int) -> Entry:
    """A generated file, link or directory; its own keys go before the rules."""
    where = f"extra[{number}]"
    _check_keys(item, EXTRA_KEYS, where)
    if not isinstance(item.get("path"), str):
        raise FileTreeError(f"{where}: path is required")
    kinds = [key for key in ("content", "link", "directory") if item.get(key) not in (None, False)]
    if len(kinds) != 1:
        raise FileTreeError(f"{where}: give exactly one of content, link or directory")
    kind = {"content": FILE, "link": LINK, "directory": DIRECTORY}[kinds[0]]
    content = str(item["content"]).encode("utf-8") if kind == FILE else b""
    target = str(item["link"]) if kind == LINK else ""
    entry = entry_from_rules(rules, destination(dest, item["path"]), kind, content, target)
    secret = entry.secret if item.get("secret") is None else bool(item["secret"])
    mode = entry.mode
    if item.get("mode") is not None:
        mode = parse_mode(item["mode"], where)
    elif secret and not entry.secret:
        mode = 0o700 if kind == DIRECTORY else 0o600
    return replace(
        entry,
        owner=str(item.get("owner") or entry.owner),
        group=str(item.get("group") or entry.group),
        mode=mode,
        secret=secret,
        enforce=True,
    )


def complete(entries: Iterable[Entry], dest: str, rules: Sequence[Rule]) -> list[Entry]:
    """Adds the parent directories, refuses two entries for one path; parents stand before what they hold."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.path in found:
            raise FileTreeError(f"{entry.path} is given twice: it must come from one of src, files_src and extra")
        found[entry.path] = entry
    root = posixpath.normpath(dest).replace("//", "/")
    for path in list(found):
        parent = posixpath.dirname(path)
        while parent not in ("/", "") and (parent == root or parent.startswith(root.rstrip("/") + "/")):
            if parent not in found:
                found[parent] = entry_from_rules(rules, parent, DIRECTORY)
            elif found[parent].kind != DIRECTORY:
                raise FileTreeError(f"{parent} is a {found[parent].kind} and also the parent of {path}")
            parent = posixpath.dirname(parent)
    return [found[path] for path in sorted(found, key=lambda path: path.split("/"))]


# How a tree travels: one line of JSON, then the contents one after the other, compressed.


def encode(entries: Sequence[Entry], validate: Sequence[Sequence[str]]) -> str:
    rows = [[e.path, e.kind, e.owner, e.group, e.mode, e.secret, e.enforce, e.target, len(e.content)] for e in entries]
    head = json.dumps({"format": FORMAT, "entries": rows, "validate": [list(c) for c in validate]})
    blob = head.encode("utf-8") + b"\n" + b"".join(e.content for e in entries)
    return base64.b64encode(zlib.compress(blob, 6)).decode("ascii")


def decode(payload: str) -> tuple[list[Entry], list[list[str]]]:
    blob = zlib.decompress(base64.b64decode(payload))
    head, _, body = blob.partition(b"\n")
    document = json.loads(head.decode("utf-8"))
    if document.get("format") != FORMAT:
        raise FileTreeError(f"payload has format {document.get('format')!r}, this module reads {FORMAT}")
    entries, offset = [], 0
    for path, kind, owner, group, mode, secret, enforce, target, size in document["entries"]:
        content = body[offset : offset + size]
        offset += size
        entries.append(Entry(path, kind, owner, group, mode, secret, enforce, target, content))
    if offset != len(body):
        raise FileTreeError(f"payload is damaged: {len(body)} bytes of content, {offset} announced")
    return entries, document["validate"]


def parse_validate(items: Iterable[Mapping[str, Any] | Sequence[str]]) -> list[list[str]]:
    commands = []
    for number, item in enumerate(items):
        command = item.get("command") if isinstance(item, Mapping) else item
        if not isinstance(command, (list, tuple)) or not command:
            raise FileTreeError(f"validate[{number}]: command must be a list: program, then arguments")
        commands.append([str(part) for part in command])
    return commands


def expand_command(command: Sequence[str], root: str) -> list[str]:
    return [part.replace("{root}", root).replace("%s", root) for part in command]
