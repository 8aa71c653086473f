# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""JMESPath expressions: the compiler, where the library is installed, and hints for the usual slips."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import Compiler, Fault, closest, shorten

try:
    import jmespath  # type: ignore[import-untyped]
    import jmespath.functions  # type: ignore[import-untyped]
except ImportError:
    HAS_JMESPATH = False
else:
    HAS_JMESPATH = True

_HINTS = (
    (r"(?<![=!<>])=(?!=)", "compare with two equals signs: =="),
    (r"[=<>]\s*-?[0-9]", "a number stands in backquotes: status == `200`"),
    (r"\b(and|or)\b", "JMESPath writes && for and, || for or"),
    (r"\bnot\b", "JMESPath writes ! for not"),
    (r"^\$", "JMESPath has no leading $: write the field's name"),
    (r"^/", "this is a path, and an expression over the JSON body is wanted: status == 'ok'"),
)


def default_compiler() -> Compiler | None:
    """A compiler that also refuses unknown functions, or none where the library is missing."""
    return _compile if HAS_JMESPATH else None


def _compile(expression: str) -> object:
    compiled = jmespath.compile(expression)
    known = jmespath.functions.Functions.FUNCTION_TABLE
    for name in _functions(compiled.parsed):
        if name not in known:
            guess = closest(name, known)
            raise ValueError("unknown function {}(){}".format(name, f", did you mean {guess}()" if guess else ""))
    return compiled


def _functions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "function_expression":
            yield str(node["value"])
        for child in node.get("children", ()):
            yield from _functions(child)


def expression_faults(text: str, compile_expression: Compiler | None) -> Iterator[Fault]:
    """The faults of one expression; an empty one is for the caller to allow or refuse."""
    # This compiles, and compares with a field that nobody meant: the answer would always be false.
    quoted = re.search(r'[=!]=\s*"([^"]*)"', text)
    if quoted:
        name = shorten(quoted.group(1))
        yield (
            f'compares with the field "{name}", not with the text',
            f"JMESPath writes text in single quotes: '{name}'",
        )
    if compile_expression is None:
        return
    try:
        compile_expression(text)
    except ValueError as error:
        # The library's message ends in a drawing over several lines.
        reason = re.split(r", for expression|:?\n", str(error))[0]
        reason = re.sub(r"^\w+ jmespath expression: ", "", reason)
        yield f"is not a JMESPath expression ({shorten(reason, 120)}): {shorten(text)}", _hint(text)


def _hint(text: str) -> str:
    for pattern, hint in _HINTS:
        if re.search(pattern, text):
            return hint[0].upper() + hint[1:]
    return "Write an expression over the JSON body, such as status == 'ok'"
