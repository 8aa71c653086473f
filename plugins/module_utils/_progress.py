# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts of the progress display: pure functions from what is known to lines."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PHASE = re.compile(r"^(?:(?P<role>.+?) : )?Phase: (?P<name>.*)$", re.DOTALL)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]")
LAST_KEYS = ("last_answer", "last", "last_body", "body")
LOG_KEYS = ("container_log", "container_logs", "log", "logs", "log_lines")
LABEL_WIDTH = 9


@dataclass
class TaskView:
    """What is on show of one task (under a free strategy: of one task on one host)."""

    uuid: str
    name: str
    phase: bool
    began: float
    action: str = ""
    running: dict[str, float] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    rescued: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    items: int = 0
    attempt: str = ""
    ended: float | None = None
    announced: bool = False
    reminded: int = 0

    @property
    def bad(self) -> bool:
        return bool(self.failed or self.unreachable or self.rescued)

    @property
    def only_skipped(self) -> bool:
        return bool(self.hosts) and len(self.skipped) == len(self.hosts)


def phase_name(name: str) -> tuple[str, bool]:
    """The name to show, and whether it is a phase; a role's prefix says nothing to who waits for a phase."""
    found = PHASE.match(name)
    return (found.group("name"), True) if found else (name, False)


def clock(seconds: float) -> str:
    whole = int(max(0.0, seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def host_list(hosts: Sequence[str], most: int = 3) -> str:
    if len(hosts) <= most:
        return ", ".join(hosts)
    return f"{', '.join(hosts[: most - 1])} and {len(hosts) - most + 1} more"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def width(text: str) -> int:
    columns = 0
    for character in text:
        if not unicodedata.combining(character):
            columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return columns


def fit(text: str, columns: int) -> str:
    """At most `columns` wide: a live line that wraps cannot be taken back."""
    text = " ".join(plain(text).split())
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def plain(text: object) -> str:
    """Text from hosts must not steer the terminal."""
    return ESCAPES.sub("", str(text).replace("\r\n", "\n").replace("\r", "\n").expandtabs(4))


def live_line(view: TaskView, now: float, columns: int) -> str:
    where = f" on {count(len(view.hosts), 'host')}" if len(view.hosts) > 1 else ""
    text = f"⏳ {view.name}{where} · {clock(now - view.began)}"
    if view.running:
        text += f" · waiting for {host_list(list(view.running))}"
    if view.attempt:
        text += f" · {view.attempt}"
    elif view.items:
        text += f" · {count(view.items, 'item')} done"
    return fit(text, columns)


def reminder(view: TaskView, now: float) -> str:
    who = host_list(list(view.running), 5) or "results"
    attempt = f", {view.attempt}" if view.attempt else ""
    return f"  … {view.name}: still waiting for {who} ({clock(now - view.began)}{attempt})"


def verdicts(view: TaskView) -> str:
    """What came of the task, host by host only where hosts differ from ok."""
    parts = []
    named = (
        ("changed", view.changed),
        ("FAILED", view.failed),
        ("rescued", view.rescued),
        ("ignored", view.ignored),
        ("UNREACHABLE", view.unreachable),
    )
    for word, hosts in named:
        if hosts:
            parts.append(f"{word} {host_list(hosts)}")
    if view.only_skipped:
        parts.append("skipped")
    if not parts:
        parts.append(f"ok {host_list(view.hosts)}".rstrip())
    if view.items:
        parts.append(count(view.items, "item"))
    return " · ".join(parts)


def end_line(mark: str, view: TaskView, now: float, columns: int = 100) -> str:
    elapsed = clock((now if view.ended is None else view.ended) - view.began)
    name = " ".join(plain(view.name).split())
    gap = " " * max(1, columns - 46 - width(name))
    return f"  {mark} {name}{gap}{elapsed:>5}  {verdicts(view)}"


def mark_of(view: TaskView) -> str:
    if view.failed or view.unreachable:
        return "✘"
    if view.rescued:
        return "↺"
    if view.only_skipped:
        return "-"
    return "✔"


# ---- failures ------------------------------------------------------------------------------------------------------


def failure_lines(result: Mapping[str, Any], log_lines: int = 10) -> list[str]:
    """Message with real line breaks, then what a check found wrong, a gate's report or a command's output."""
    if "censored" in result:
        return ["the result is hidden because of no_log"]
    lines = plain(result.get("msg") or "").strip().split("\n") if result.get("msg") else []
    problems = [text for text in _texts(result.get("problems")) if text not in "\n".join(lines)]
    lines += [f"{number}. {text}" for number, text in enumerate(problems, 1)]
    if isinstance(result.get("report"), Mapping):
        lines += report_lines(result["report"], "\n".join(lines), log_lines)
    if "rc" in result:
        lines.append(f"{'exit code':<{LABEL_WIDTH}} {result['rc']}")
    for key in ("stderr", "module_stderr", "stdout", "module_stdout"):
        content = plain(result.get(key) or "").strip()
        if content and content not in "\n".join(lines):
            lines += labelled(key.replace("module_", ""), content.split("\n")[-log_lines:])
    return lines or ["failed without a message (run again with -vvv)"]


def item_lines(item: Mapping[str, Any], log_lines: int = 10) -> list[str]:
    """One failed item of a loop: what it was and why it failed."""
    label = "(hidden)" if "censored" in item else item.get("_ansible_item_label", item.get("item", ""))
    return [f"item {fit(str(label), 60)}", *(f"  {line}" for line in failure_lines(item, log_lines))]


def report_lines(report: Mapping[str, Any], said: str, log_lines: int) -> list[str]:
    """A gate's report as a small table; what the message has said is not said again."""
    lines: list[str] = []
    if report.get("verdict"):
        lines += labelled("verdict", [str(report["verdict"]).upper()])
    for key in ("reason", "url", "warnings"):
        content = [text for text in _texts(report.get(key)) if text not in said]
        lines += labelled(key, content)
    last = _first(report, LAST_KEYS)
    if last is None and isinstance(report.get("timeline"), list) and report["timeline"]:
        last = report["timeline"][-1]
    lines += labelled("last", [text for text in _texts(last) if text not in said])
    container = report.get("container")
    log = _first(report, LOG_KEYS)
    if log is None and isinstance(container, Mapping):
        log = _first(container, LOG_KEYS)
    return lines + labelled("log", [text for text in _texts(log)[-log_lines:] if text not in said])


def labelled(label: str, content: Sequence[str]) -> list[str]:
    return [f"{label if index == 0 else '':<{LABEL_WIDTH}} {text}" for index, text in enumerate(content)]


def wrapped(lines: Iterable[str], columns: int) -> list[str]:
    """Break long lines between words and indent what follows; words longer than a line (URLs, digests) stay whole."""
    found: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        pieces = textwrap.wrap(
            line, max(20, columns), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        found += pieces if len(line) > columns and pieces else [line]
    return found


def _first(mapping: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((mapping[key] for key in keys if mapping.get(key)), None)


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        return [" ".join(f"{key}={plain(item)}" for key, item in value.items())[:400]]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return plain(value).strip().split("\n")
