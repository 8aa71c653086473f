# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JMESPath expressions that can say which of their terms failed. The library itself is handed in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Callable

# A node of a parsed expression: type, children, and for some a value.
Node = Mapping[str, Any]
Evaluate = Callable[[Node, Any], Any]

_COMPARATORS = {"eq": "==", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def render(node: Node) -> str:
    """A node as text, near enough to what was written to be recognised."""
    kind = node["type"]
    children = node.get("children", [])
    if kind == "field":
        return str(node["value"])
    if kind == "subexpression":
        return ".".join(render(child) for child in children)
    if kind == "literal":
        return json.dumps(node["value"])
    if kind == "function_expression":
        return f"{node['value']}({', '.join(render(child) for child in children)})"
    if kind == "current":
        return "@"
    if kind == "not_expression":
        return f"!{render(children[0])}"
    if kind == "comparator":
        return f"{render(children[0])} {_COMPARATORS[node['value']]} {render(children[1])}"
    if kind in ("and_expression", "or_expression"):
        return f"({render(children[0])} {'&&' if kind == 'and_expression' else '||'} {render(children[1])})"
    return "…"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else text[:200] + "…"


def failing_terms(node: Node, value: Any, evaluate: Evaluate) -> list[str]:
    """Each term that is not true, with what it found."""
    if node["type"] == "and_expression":
        return [term for child in node["children"] for term in failing_terms(child, value, evaluate)]
    result = evaluate(node, value)
    if result is True:
        return []
    if node["type"] == "comparator":
        left, right = node["children"]
        return [
            f"{render(left)} is {_shown(evaluate(left, value))}, "
            f"wanted is {_COMPARATORS[node['value']]} {_shown(evaluate(right, value))}"
        ]
    return [f"{render(node)} is {_shown(result)}, wanted is true"]


class CompiledExpression:
    """One expression, ready to be applied."""

    def __init__(self, parsed: Node, evaluate: Evaluate) -> None:
        self._parsed = parsed
        self._evaluate = evaluate

    def search(self, value: Any) -> Any:
        """Apply to a document."""
        return self._evaluate(self._parsed, value)

    def failing_terms(self, value: Any) -> list[str]:
        """Say why it is not true."""
        return failing_terms(self._parsed, value, self._evaluate) or ["the expression is not true as a whole"]
