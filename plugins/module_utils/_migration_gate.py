# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The migration gate as a whole: what came from the hosts, in; the report, out. Each source adds findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_alembic as alembic
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_rehearsal as rehearsal
from ansible_collections.signalbox.platform.plugins.module_utils._migration_image import (
    NoTree,
    answer_of,
    keeps_plans,
    statements_of_models,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    ALL,
    UNDETERMINED,
    Finding,
    Report,
    Revision,
    Settings,
    in_order,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rules_lock import seconds
from ansible_collections.signalbox.platform.plugins.module_utils._migration_squawk import Squawk, SquawkError, weigh
from ansible_collections.signalbox.platform.plugins.module_utils._migration_verdict import Context, judge


@dataclass(frozen=True)
class Request:
    """What the gate is asked about, as the hosts and the operator gave it."""

    image_output: str | None = None
    revisions: Sequence[Mapping[str, str]] | None = None
    context: Mapping[str, Any] | None = None
    models_output: str | None = None
    url: str = ""
    settings: Settings = field(default_factory=Settings)
    observed_seconds_minimum: int = 3600
    contracts: Sequence[str] = ()
    serving: bool = True
    rehearsal: Mapping[str, Any] | None = None


def decide(request: Request, squawk: Squawk | None = None) -> Report:
    """The report on what is pending. Raises NoTree where the image's answer is none."""
    notes: list[str] = []
    pending, settings = _pending(request)
    context = _context(request, settings, notes)
    report = judge(pending.revisions, context, pending.findings)
    extra = _squawk(squawk, pending.revisions, context, report, notes)
    report = dataclasses.replace(
        report,
        findings=in_order([*report.findings, *extra]),
        deferred=list(pending.deferred),
        target=pending.target,
        notes=notes,
    )
    return report if request.rehearsal is None else rehearsal.joined(report, request.rehearsal, settings)


def to_rehearse(request: Request) -> dict[str, Any]:
    """What a rehearsal needs to know. Raises NotRehearsable."""
    pending, settings = _pending(request)
    if request.context is None:
        raise rehearsal.NotRehearsable("the live database was not read")
    serving = _context(request, settings, []).serving
    return rehearsal.wanted(pending, settings, request.context["live"], serving)


def _pending(request: Request) -> tuple[alembic.Pending, Settings]:
    settings = _settings(request)
    if request.image_output is None:
        steps = [Revision(one["id"], alembic.inner(one["sql"])) for one in request.revisions or ()]
        return alembic.Pending(steps), settings
    answer = answer_of(request.image_output)
    live = request.context["live"] if request.context is not None else None
    pending = alembic.pending(
        alembic.nodes_of(answer["revisions"]), live, request.contracts, settings.accept_no_downgrade
    )
    if settings.transaction is None:
        settings = dataclasses.replace(settings, transaction=answer["transaction"])
    if answer["unknown"]:
        told = f"env.py cannot run offline ({answer['unknown']}), so how Alembic runs its transactions is not known"
        found = Finding(
            52, UNDETERMINED, "env.py", "", "", told, "Let env.py handle context.is_offline_mode().", "revisions"
        )
        pending = dataclasses.replace(pending, findings=[*pending.findings, found])
    return pending, settings


def _settings(request: Request) -> Settings:
    """The owner role's own timeouts count where the runner sets none; the driver tells of plans where nobody does."""
    settings = request.settings
    given = (request.context or {}).get("settings", {})
    if settings.lock_timeout_seconds is None and "lock_timeout" in given:
        settings = dataclasses.replace(settings, lock_timeout_seconds=seconds(given["lock_timeout"]))
    if settings.statement_timeout_seconds is None and "statement_timeout" in given:
        settings = dataclasses.replace(settings, statement_timeout_seconds=seconds(given["statement_timeout"]))
    if settings.plan_caching is None and request.url:
        settings = dataclasses.replace(settings, plan_caching=keeps_plans(request.url))
    return settings


def _context(request: Request, settings: Settings, notes: list[str]) -> Context:
    if request.context is None:
        notes.append("The live database was not read.")
        return Context(settings=settings)
    context = request.context
    if not request.serving:
        notes.append("No release serves, so no statement can change its outcome or wait.")
        return Context(context["catalogue"], [], True, settings)
    texts = context["statements"]
    if texts is None:
        notes.append("The database has no pg_stat_statements, so the statements of the serving release are not known.")
    elif context["forgotten"]:
        notes.append(
            f"pg_stat_statements forgot {context['forgotten']} statements for want of room (pg_stat_statements.max)."
        )
    elif context["observed_seconds"] < request.observed_seconds_minimum:
        notes.append(
            f"Statements have been counted for {context['observed_seconds']} s only, of "
            f"{request.observed_seconds_minimum} s wanted."
        )
    complete = bool(
        texts is not None
        and not context["forgotten"]
        and context["observed_seconds"] >= request.observed_seconds_minimum
    )
    return Context(context["catalogue"], _with_models(request, texts, notes), complete, settings)


def _with_models(request: Request, texts: Sequence[str] | None, notes: list[str]) -> Sequence[str] | None:
    if texts is None or request.models_output is None:
        return texts
    try:
        tables = answer_of(request.models_output)["tables"]
    except NoTree as error:
        notes.append(f"The models of the serving image are not known: {error}.")
        return texts
    if not tables:
        notes.append("The serving image's env.py names no target_metadata, so its models are not known.")
        return texts
    notes.append(f"Statements were completed from the serving image's models: {', '.join(sorted(tables))}.")
    return [*texts, *statements_of_models(tables)]


def _squawk(
    squawk: Squawk | None, revisions: Sequence[Revision], context: Context, report: Report, notes: list[str]
) -> list[Finding]:
    if squawk is None:
        notes.append(
            "squawk is not installed on the control node, so it was not asked (pip install -r requirements.txt)."
        )
        return []
    version = int(context.catalogue["version"]) if context.catalogue is not None else 17
    try:
        remarks = squawk.lint(revisions, version, context.settings.transaction or ALL)
    except SquawkError as error:
        notes.append(f"squawk could not lint, so its silence means nothing: {error}.")
        return []
    return list(weigh(remarks, report.findings))
