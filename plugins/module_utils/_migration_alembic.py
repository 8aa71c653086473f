# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tree of an app's Alembic revisions: what is pending, in which order, and what keeps it from running."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    HOLD,
    UNDETERMINED,
    Finding,
    Revision,
)

# What asks the database while it runs: offline it renders nothing, or less.
_ASKING = {
    "get_bind",
    "inspect",
    "connection",
    "get_context().connection",
    "execute_and_fetch",
    "scalar",
    "Session",
    "sessionmaker",
}
_LESS = "offline that renders nothing, or less than what will run"


@dataclass(frozen=True)
class Node:
    """A revision file as the image holds it."""

    id: str
    down: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    path: str = ""
    source: str = ""
    sql: str = ""
    error: str = ""
    contract: bool = False
    labels: tuple[str, ...] = ()
    undo: str = ""


@dataclass(frozen=True)
class Pending:
    """What `upgrade head` would run, and what was found out about the tree."""

    revisions: Sequence[Revision] = ()
    deferred: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    heads: Sequence[str] = field(default_factory=tuple)
    # The last revision that runs now, where others are left for later.
    target: str = ""


def nodes_of(tree: Sequence[Mapping[str, Any]]) -> list[Node]:
    """The revisions as the script in the image lists them."""
    return [
        Node(
            one["id"],
            tuple(one.get("down") or ()),
            tuple(one.get("depends") or ()),
            one.get("path") or "",
            one.get("source") or "",
            one.get("sql") or "",
            one.get("error") or "",
            bool(one.get("contract")),
            tuple(one.get("labels") or ()),
            one.get("undo") or "",
        )
        for one in tree
    ]


def pending(
    nodes: Sequence[Node], live: Sequence[str] | None, contracts: Sequence[str] = (), accept_no_downgrade: bool = False
) -> Pending:
    """The way from the live revision to the head."""
    known = {node.id: node for node in nodes}
    heads = _heads(nodes)
    broken = list(_broken(nodes, known, heads, live))
    if broken:
        return Pending(findings=broken, heads=heads)
    if live is None:
        told = "the revision that the database is at is not known"
        return Pending(
            findings=[_finding(54, UNDETERMINED, "alembic_version", told, "Let the gate read alembic_version.")],
            heads=heads,
        )
    order = [known[one] for one in _order(known, _ancestors(known, live))]
    now, later, findings = _without_contracts(order, known, contracts)
    findings += [one for node in now for one in _downgrade(node) if not accept_no_downgrade]
    target = now[-1].id if now and later else ""
    if target:
        findings += _beside(now, _ancestors(known, [target]), later[0])
    revisions = [Revision(node.id, inner(node.sql), False, _blind(node), _undo(node)) for node in now]
    return Pending(revisions, [node.id for node in later], findings, heads, target)


def inner(sql: str) -> str:
    """The SQL of one revision without the transaction around it, which it may share with others."""
    text = re.sub(r"\A(\s|--[^\n]*\n)*BEGIN;", "", sql)
    return re.sub(r"COMMIT;\s*\Z", "", text)


def _finding(hazard: int, verdict: str, revision: str, told: str, remedy: str) -> Finding:
    return Finding(hazard, verdict, revision, "", revision, told, remedy, "revisions")


def _heads(nodes: Sequence[Node]) -> list[str]:
    parents = {parent for node in nodes for parent in node.down}
    return list(dict.fromkeys(node.id for node in nodes if node.id not in parents))


def _broken(
    nodes: Sequence[Node], known: Mapping[str, Node], heads: Sequence[str], live: Sequence[str] | None
) -> Iterator[Finding]:
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            where = f", one is {node.path}" if node.path else ""
            told = f"two files have the id {node.id}{where}; Alembic only warns, and takes either"
            yield _finding(54, HOLD, node.id, told, "Give one of them another id and put it in its place in the line.")
        seen.add(node.id)
        for parent in (*node.down, *node.depends):
            if parent not in known and not any(parent in one.labels for one in nodes):
                told = f"its parent {parent} is not in the image"
                yield _finding(
                    54, HOLD, node.id, told, f"Add the file of {parent} to the image, or mend down_revision."
                )
    if len(heads) > 1:
        told = f"there are {len(heads)} heads: {', '.join(heads)}; `upgrade head` refuses to choose"
        yield _finding(54, HOLD, heads[0], told, f"Merge them: alembic merge -m 'merge' {' '.join(heads)}")
    for one in live or ():
        if one not in known:
            told = f"the database is at {one}, which the image does not know: a newer or another release migrated it"
            yield _finding(
                54, HOLD, one, told, "Release an image that holds this revision, or downgrade with the image that does."
            )


def _ancestors(known: Mapping[str, Node], live: Sequence[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(live)
    while waiting:
        one = waiting.pop()
        if one in known and one not in found:
            found.add(one)
            waiting += [*known[one].down, *known[one].depends]
    return found


def _order(known: Mapping[str, Node], done: set[str]) -> list[str]:
    """Parents first; otherwise as the image lists them."""
    order: list[str] = []
    waiting = [one for one in known if one not in done]
    while waiting:
        ready = [
            one
            for one in waiting
            if all(up in done or up in order or up not in known for up in (*known[one].down, *known[one].depends))
        ]
        if not ready:
            break
        order.append(ready[0])
        waiting.remove(ready[0])
    return order


def _without_contracts(
    order: Sequence[Node], known: Mapping[str, Node], contracts: Sequence[str]
) -> tuple[list[Node], list[Node], list[Finding]]:
    now: list[Node] = []
    later: list[Node] = []
    findings: list[Finding] = []
    for node in order:
        if node.contract or node.id in contracts:
            later.append(node)
        elif later:
            told = f"it expands, and follows {later[0].id}, which is marked as contract and is left for later"
            findings.append(
                _finding(
                    54, HOLD, node.id, told, f"Put it before {later[0].id}, or run contract.yml for that one first."
                )
            )
        else:
            now.append(node)
    return now, later, findings


def _beside(now: Sequence[Node], reached: set[str], contract: Node) -> Iterator[Finding]:
    """An upgrade goes to one revision, and to what that one builds on."""
    for node in now:
        if node.id not in reached:
            told = f"{contract.id} is left for later, and no single revision before it builds on all that is to run now"
            yield _finding(
                54, HOLD, node.id, told, f"Merge the branches before {contract.id}, or release them in turn."
            )


def _function(node: Node, name: str) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(node.source)
    except SyntaxError:
        return None
    return next((one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name), None)


def _blind(node: Node) -> str:
    """Why the SQL that Alembic renders offline may not be all."""
    if node.error:
        return f"Alembic cannot render it offline: {node.error}"
    if not node.source:
        return ""
    upgrade = _function(node, "upgrade")
    if upgrade is None:
        return "its upgrade() cannot be found, so its SQL is not known to be all"
    found = sorted(set(_asks(upgrade)))
    if found:
        return f"upgrade() uses {', '.join(found)}; {_LESS}"
    called = {one.func.id for one in ast.walk(upgrade) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
    for name in sorted(called):
        helper = _function(node, name)
        inner = sorted(set(_asks(helper))) if helper is not None else []
        if inner:
            return f"upgrade() calls {name}(), which uses {', '.join(inner)}; {_LESS}"
    return ""


def _undo(node: Node) -> str:
    """The downgrade's SQL, unless it asks the database, or there is more than one revision to go back to."""
    downgrade = _function(node, "downgrade")
    return "" if downgrade is None or len(node.down) > 1 or any(_asks(downgrade)) else node.undo


def _asks(function: ast.AST) -> Iterator[str]:
    for one in ast.walk(function):
        if isinstance(one, ast.Attribute) and one.attr in _ASKING:
            yield one.attr
        elif isinstance(one, ast.Name) and one.id in _ASKING:
            yield one.id


def _downgrade(node: Node) -> Iterator[Finding]:
    if not node.source or len(node.down) > 1:
        return
    remedy = (
        "Write the downgrade; or accept that a release with it is rolled back without its schema (accept_no_downgrade)."
    )
    function = _function(node, "downgrade")
    if function is None:
        yield _finding(55, UNDETERMINED, node.id, "it has no downgrade()", remedy)
        return
    body = [one for one in function.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    upgrade = _function(node, "upgrade")
    does = upgrade is not None and any(
        not isinstance(one, ast.Pass)
        for one in upgrade.body
        if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    )
    if not body or all(isinstance(one, ast.Pass) for one in body):
        if does:
            yield _finding(55, UNDETERMINED, node.id, "its downgrade() does nothing, although upgrade() does", remedy)
    elif isinstance(body[0], ast.Raise):
        yield _finding(55, UNDETERMINED, node.id, "its downgrade() raises", remedy)
