# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The linter squawk as one more source: it reads text alone, so what it says is borne out or set aside."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    NONE,
    RUN_NOW,
    Finding,
    Revision,
    Statement,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_readers import bookkeeping
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Unreadable,
    is_a,
    rendered,
    statements,
)

# exit code, standard output, standard error
Run = Callable[[Sequence[str], str], "tuple[int, str, str]"]

# What is asked beside squawk's default rules, and what is a matter of taste or known to the gate already.
INCLUDED = (
    "ban-new-write-restriction", "ban-add-enum-value", "ban-set-default", "ban-drop-index", "ban-drop-trigger",
    "ban-disable-trigger", "ban-revoke", "ban-replace-view-function", "ban-alter-row-level-security",
    "ban-alter-sequence-values", "ban-create-policy",
)  # fmt: skip
EXCLUDED = (
    "require-lock-timeout", "require-statement-timeout", "prefer-bigint-over-int", "prefer-bigint-over-smallint",
    "prefer-identity", "prefer-text-field", "prefer-timestamp-tz", "prefer-robust-stmts", "ban-char-field",
    "identifier-too-long", "require-enum-value-ordering", "ban-duplicate-column-assignments", "transaction-nesting",
    "ban-uncommitted-transaction",
)  # fmt: skip

# Which rows of the table of hazards a rule speaks of.
HAZARDS_OF: Mapping[str, tuple[int, ...]] = {
    "require-concurrent-index-creation": (13, 16),
    "require-concurrent-index-deletion": (14, 15),
    "require-concurrent-reindex": (16,),
    "require-concurrent-partition-detach": (16,),
    "constraint-missing-not-valid": (19, 20, 25),
    "adding-foreign-key-constraint": (17,),
    "adding-field-with-default": (5, 6, 7),
    "adding-not-nullable-field": (10, 9, 11),
    "adding-serial-primary-key-field": (23, 24),
    "disallowed-unique-constraint": (21,),
    "changing-column-type": (1, 2, 3, 4),
    "ban-concurrent-index-creation-in-transaction": (45,),
    "adding-required-field": (8,),
    "ban-drop-column": (26,),
    "ban-drop-table": (27,),
    "ban-drop-view": (35, 36),
    "ban-drop-function": (35,),
    "ban-drop-constraint": (40,),
    "ban-drop-default": (33, 9),
    "ban-drop-not-null": (12,),
    "renaming-column": (28,),
    "renaming-table": (29,),
    "renaming-object": (30, 40),
    "ban-set-schema": (29,),
    "ban-truncate-cascade": (44,),
    "ban-new-write-restriction": (11, 18, 22),
    "ban-add-enum-value": (31,),
    "ban-set-default": (34,),
    "ban-drop-index": (15, 14),
    "ban-drop-trigger": (39,),
    "ban-disable-trigger": (39,),
    "ban-revoke": (37,),
    "ban-replace-view-function": (35,),
    "ban-alter-row-level-security": (37,),
    "ban-alter-sequence-values": (41,),
    "ban-create-policy": (37,),
    "syntax-error": (53,),
}


class SquawkError(Exception):
    """Squawk did not lint: its silence would mean nothing."""


@dataclass(frozen=True)
class Remark:
    """What squawk says about one statement."""

    rule: str
    message: str
    statement: Statement


class Squawk:
    """Runs the program with a configuration of its own, on SQL from which every comment is stripped."""

    def __init__(self, binary: str, run: Run) -> None:
        self._binary, self._run = binary, run

    def lint(self, revisions: Iterable[Revision], version: int, transaction: str) -> list[Remark]:
        lines, owners = _one_per_line(revisions)
        if not lines:
            return []
        with tempfile.TemporaryDirectory() as directory:
            configuration = os.path.join(directory, "squawk.toml")
            with open(configuration, "w", encoding="utf-8") as handle:
                handle.write(_configuration(version, transaction))
            command = [
                self._binary,
                "--config",
                configuration,
                "--reporter",
                "json",
                "--stdin-filepath",
                "migration.sql",
            ]
            code, out, err = self._run(command, "\n".join(lines) + "\n")
        return [
            Remark(one["rule_name"], one["message"], owners[min(int(one["line"]), len(owners) - 1)])
            for one in answer(code, out, err)
        ]


def answer(code: int, out: str, err: str) -> list[dict[str, str]]:
    """The remarks; exit code 1 stands for remarks, and for a file or configuration that could not be read."""
    try:
        found = json.loads(out) if out.strip() else None
    except ValueError:
        found = None
    if code not in (0, 1) or not isinstance(found, list) or bool(found) != (code == 1):
        raise SquawkError(f"squawk ended with {code}: {(err or out).strip()[:300] or 'it said nothing'}")
    return found


def _configuration(version: int, transaction: str) -> str:
    names = {"included_rules": INCLUDED, "excluded_rules": EXCLUDED}
    lines = [f"{key} = [{', '.join(json.dumps(name) for name in values)}]" for key, values in names.items()]
    # Without a minor number squawk takes a version for one before its release.
    lines += [f'pg_version = "{version}.0"', f"assume_in_transaction = {'false' if transaction == NONE else 'true'}"]
    return "\n".join(lines) + "\n"


def _one_per_line(revisions: Iterable[Revision]) -> tuple[list[str], list[Statement]]:
    lines: list[str] = []
    owners: list[Statement] = []
    for revision in revisions:
        try:
            parsed = statements(revision.sql)
        except Unreadable:
            continue
        for text, node in parsed:
            if not is_a(node, "TransactionStmt") and not bookkeeping(node):
                lines.append(" ".join(rendered(node).split("\n")) + ";")
                owners.append(Statement(revision.id, text))
    return lines, owners


def weigh(remarks: Iterable[Remark], findings: Sequence[Finding]) -> Iterator[Finding]:
    """Squawk's remarks beside the gate's own findings: confirmed by one, or set aside by what is known."""
    for remark in remarks:
        hazards = HAZARDS_OF.get(remark.rule, ())
        if not hazards:
            continue
        same = [one for one in findings if one.statement == remark.statement.text and one.verdict != RUN_NOW]
        agreed = next((one for one in same if one.hazard in hazards), same[0] if same else None)
        told = f"{remark.rule}: {remark.message}"
        if agreed is None:
            told += " Set aside: neither the catalogue nor the statements of the serving release bear it out."
        else:
            told += f" Borne out: {agreed.evidence}"
        yield Finding(
            hazards[0], RUN_NOW, agreed.object if agreed else "", remark.statement.text, remark.statement.revision,
            told, agreed.remedy if agreed else "", "squawk",
        )  # fmt: skip
