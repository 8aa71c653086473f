#!/usr/bin/env python3
"""Writes the variable table of every role's README from its argument_specs; with --check only says which are stale."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

BEGIN, END = "<!-- variables -->", "<!-- /variables -->"
LONGEST_DEFAULT = 60
Options = Mapping[str, Mapping[str, Any]]


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    roots = [Path(argument) for argument in arguments if not argument.startswith("--")]
    root = roots[0] if roots else Path(__file__).resolve().parents[1]
    stale = [readme for readme in readmes(root) if refresh(readme, check)]
    for readme in stale:
        print(f"{readme}: {'is stale, run docs/generate.py' if check else 'written'}")
    return 1 if check and stale else 0


def readmes(root: Path) -> list[Path]:
    return sorted(spec.parents[1] / "README.md" for spec in root.glob("roles/*/meta/argument_specs.yml"))


def refresh(readme: Path, check: bool) -> bool:
    """Whether the README differed from its role's specs."""
    specs = yaml.safe_load((readme.parent / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    old = readme.read_text(encoding="utf-8") if readme.exists() else ""
    new = replace_block(old, tables(specs), str(readme))
    if old != new and not check:
        readme.write_text(new, encoding="utf-8")
    return old != new


def replace_block(text: str, block: str, where: str = "README.md") -> str:
    """The text with what stands between the markers replaced."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{where}: needs the line {BEGIN} and, after it, the line {END}, once each")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{block}{END}{rest.partition(END)[2]}"


def tables(specs: Mapping[str, Mapping[str, Any]]) -> str:
    """One table an entry point; its name stands above where there is more than one."""
    parts = []
    for name, spec in specs.items():
        title = f"Entry point `{name}`: {plain(spec.get('short_description', ''))}\n\n" if len(specs) > 1 else ""
        parts.append(title + table(spec.get("options") or {}))
    return "\n" + "\n".join(parts) + "\n"


def table(options: Options) -> str:
    if not options:
        return "No variables.\n"
    rows = [f"| {' | '.join(cells)} |\n" for cells in rows_of(options)]
    return "| variable | type | default | description |\n|---|---|---|---|\n" + "".join(rows)


def rows_of(options: Options, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    for name, option in options.items():
        path = prefix + name
        yield f"`{path}`", type_of(option), default_of(option), description_of(option)
        nested = "[]." if option.get("type") == "list" else "."
        yield from rows_of(option.get("options") or {}, path + nested)


def type_of(option: Mapping[str, Any]) -> str:
    kind = option.get("type", "str")
    return f"{kind} of {option['elements']}" if kind == "list" and "elements" in option else str(kind)


def default_of(option: Mapping[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    if option.get("default") is None:
        return ""
    text = json.dumps(option["default"], ensure_ascii=False)
    return f"`{escape(text)}`" if len(text) <= LONGEST_DEFAULT else "see [defaults](defaults/main.yml)"


def description_of(option: Mapping[str, Any]) -> str:
    text = option.get("description", "")
    words = plain(" ".join(text) if isinstance(text, list) else str(text))
    choices = option.get("choices")
    return words + (f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else "")


def plain(text: str) -> str:
    """Ansible's markup as Markdown, on one line, safe in a table cell."""
    text = re.sub(r"\b[OVRE]\(([^)]*)\)|\bC\(([^)]*)\)", lambda found: f"`{found.group(1) or found.group(2)}`", text)
    text = re.sub(r"\b[BI]\(([^)]*)\)", r"*\1*", text)
    text = re.sub(r"\bM\(([^)]*)\)", r"`\1`", text)
    return escape(" ".join(text.split()))


def escape(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
