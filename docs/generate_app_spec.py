#!/usr/bin/env python3
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Writes the tables of docs/app-spec.md from the fields of the spec's dataclasses."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "app-spec.md"
BEGIN, END = "<!-- reference -->", "<!-- /reference -->"

sys.path.insert(0, str(CHECKOUT / ".collections"))

from ansible_collections.signalbox.platform.plugins.module_utils._spec_model import App  # noqa: E402
from ansible_collections.signalbox.platform.plugins.module_utils._spec_section import (  # noqa: E402
    default_of,
    has_default,
    keys_of,
)

HEAD = "| key | type | unit | range | default | meaning |\n|---|---|---|---|---|---|"


def model_of(kind: Any) -> Any:
    """The model that describes the keys below a key, whether it is a section, a list of them or a mapping to them."""
    for inner in (kind, *(getattr(kind, name, None) for name in ("item", "value", "section"))):
        if hasattr(inner, "model"):
            return inner.model
        if hasattr(getattr(inner, "section", None), "model"):
            return inner.section.model
    return None


def default(item: Any) -> str:
    if not has_default(item):
        return "**required**"
    told = item.metadata["default_doc"]
    if told:
        return f"`{told}`" if "{" in told else told
    value = default_of(item)
    if hasattr(value, "__dataclass_fields__"):
        return "as below"
    return "`{}`".format({"": '""', (): "[]", None: "null"}.get(value, value) if not isinstance(value, dict) else value)


def suffix(kind: Any) -> str:
    if hasattr(kind, "item"):
        return "[]"
    return ".NAME" if hasattr(kind, "key_checks") else ""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def rows(model: Any, prefix: str = "") -> list[str]:
    lines = []
    for item in keys_of(model):
        kind, meta = item.metadata["kind"], item.metadata
        cells = [f"`{prefix}{item.name}`", kind.type_name, meta["unit"], kind.limits, default(item), meta["doc"]]
        lines.append("| " + " | ".join(cell(one) for one in cells) + " |")
    return lines


def tables(model: Any, prefix: str = "", title: str = "An app") -> list[str]:
    doc = (model.__doc__ or "").strip()
    lines = [f"### {title}", "", doc, "", HEAD, *rows(model, prefix), ""]
    for item in keys_of(model):
        inner = model_of(item.metadata["kind"])
        if inner is not None:
            below = f"{prefix}{item.name}{suffix(item.metadata['kind'])}"
            lines += tables(inner, below + ".", f"`{below}`")
    return lines


def renew(page: str) -> str:
    """The page with its reference written anew."""
    reference = "\n".join([BEGIN, *tables(App), END])
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _match: reference, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
