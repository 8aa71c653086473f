# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL text to PostgreSQL's own parse trees, by pglast, and what is read off them in many places."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

try:
    import pglast
    from pglast import ast
    from pglast.stream import RawStream
except ImportError:
    PGLAST_ERROR: str | None = traceback.format_exc()
else:
    PGLAST_ERROR = None

Node = Any


class Unreadable(Exception):
    """The text is no SQL that PostgreSQL would take."""


def statements(sql: str) -> list[tuple[str, Node]]:
    """Each statement of a text with its tree. Comments between them belong to none."""
    try:
        raw = pglast.parse_sql(sql)
    except pglast.Error as error:
        raise Unreadable(f"{error.args[0]}{_near(sql, error)}") from error
    data = sql.encode()
    return [
        (
            _trimmed(_cut(data, one).decode()),
            one.stmt,
        )
        for one in raw
    ]


def _cut(data: bytes, raw: Any) -> bytes:
    start = int(raw.stmt_location or 0)
    return data[start : start + int(raw.stmt_len)] if raw.stmt_len else data[start:]


def _near(sql: str, error: Any) -> str:
    place = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else None
    return "" if place is None else f", near: {' '.join(sql[place : place + 40].split())}"


def _trimmed(text: str) -> str:
    return re.sub(r"\A(\s|--[^\n]*\n|/\*.*?\*/)+", "", text, flags=re.DOTALL).strip().rstrip(";").strip()


def is_node(value: Any) -> bool:
    return isinstance(value, ast.Node)


def walk(value: Any) -> Iterator[Node]:
    """A node and all below it."""
    if isinstance(value, (tuple, list)):
        for one in value:
            yield from walk(one)
    elif is_node(value):
        yield value
        for name in value:
            yield from walk(getattr(value, name))


def of_type(value: Any, *names: str) -> Iterator[Node]:
    return (node for node in walk(value) if type(node).__name__ in names)


def is_a(node: Any, *names: str) -> bool:
    return type(node).__name__ in names


def rendered(node: Any) -> str:
    """The SQL of a tree, in one way of writing."""
    return "" if node is None else str(RawStream()(node))


def name_of(parts: Any) -> str:
    """A name as a text: of a RangeVar, or of a list of strings, of which a catalogue name is left out."""
    if is_a(parts, "RangeVar"):
        return f"{parts.schemaname}.{parts.relname}" if parts.schemaname else str(parts.relname)
    if is_a(parts, "ObjectWithArgs"):
        return name_of(parts.objname)
    if is_a(parts, "TypeName"):
        return name_of(parts.names)
    if is_a(parts, "String"):
        return str(parts.sval)
    return ".".join(str(part.sval) for part in parts)


def bare(name: str) -> str:
    return name.rpartition(".")[2]


def column_of(node: Node) -> tuple[str, str]:
    """Qualifier and column of a reference; '*' for all columns."""
    fields = [("*" if is_a(part, "A_Star") else str(part.sval)) for part in node.fields]
    return (".".join(fields[:-1]), fields[-1])


def columns_in(node: Any) -> set[str]:
    """Names of the columns that an expression uses."""
    return {column_of(one)[1] for one in of_type(node, "ColumnRef")} - {"*"}


def functions_in(node: Any) -> set[str]:
    """Names of the functions that an expression calls, without their schema."""
    return {bare(name_of(one.funcname)) for one in of_type(node, "FuncCall")}


def configured(node: Any) -> list[tuple[str, str]]:
    """Settings that set_config() is called for with constants."""
    found = []
    for call in of_type(node, "FuncCall"):
        if bare(name_of(call.funcname)) == "set_config":
            texts = [str(one.val.sval) for one in call.args[:2] if is_a(one, "A_Const") and is_a(one.val, "String")]
            found += [(texts[0], texts[1])] if len(texts) == 2 else []
    return found


def option(options: Sequence[Node] | None, name: str) -> Any:
    """The value of a WITH or bracketed option, True where it has none; None where it is not there."""
    for one in options or ():
        if one.defname == name:
            if one.arg is None:
                return True
            if is_a(one.arg, "Integer"):
                return one.arg.ival
            if is_a(one.arg, "String"):
                return str(one.arg.sval).lower() not in ("off", "false", "0")
            return one.arg
    return None


def conjuncts(node: Node | None) -> list[Node]:
    """The parts of an expression that all must hold."""
    if node is None:
        return []
    if is_a(node, "BoolExpr") and node.boolop.name == "AND_EXPR":
        return [part for one in node.args for part in conjuncts(one)]
    return [node]


def proves_not_null(expression: Node | None) -> set[str]:
    """Columns that a CHECK says are not null."""
    return {
        column_of(part.arg)[1]
        for part in conjuncts(expression)
        if is_a(part, "NullTest") and part.nulltesttype.name == "IS_NOT_NULL" and is_a(part.arg, "ColumnRef")
    }


@functools.lru_cache(maxsize=10_000)
def check_expression(definition: str) -> Node | None:
    """The expression of a constraint as the catalogue prints it."""
    match = re.match(r"CHECK\s*(\(.*\))", definition, re.DOTALL)
    if match is None:
        return None
    try:
        found = statements(f"SELECT 1 WHERE {match[1]}")
    except Unreadable:
        return None
    return found[0][1].whereClause


def normalised(expression: str) -> str:
    """An expression without what the catalogue adds to it: brackets, casts, spaces."""
    text = re.sub(r"cast\((.*?) as [^()]*(?:\([\d,]+\))?\)", r"\1", expression.lower())
    text = re.sub(r"::[a-z_ ]+(\([\d,]+\))?(\[\])?", "", text)
    return re.sub(r"[\s()]+", "", text)


@functools.lru_cache(maxsize=10_000)
def normalised_check(definition: str) -> str:
    """The expression of a constraint, to be compared with another's."""
    return normalised(rendered(check_expression(definition)))


@functools.lru_cache(maxsize=10_000)
def columns_not_null(definition: str) -> frozenset[str]:
    """Columns that a constraint says are not null."""
    return frozenset(proves_not_null(check_expression(definition)))


def numbers(text: str) -> list[int]:
    """The numbers in a constant; moments compare by them, however they are written."""
    found = [int(one) for one in re.findall(r"\d+", text)]
    while found and found[-1] == 0:
        found.pop()
    return found


def plpgsql_statements(do_block: str) -> tuple[list[tuple[str, bool]], str]:
    """The SQL in a DO block, each with whether it may fail or be left out, and why that is not all of it."""
    try:
        parsed = pglast.parse_plpgsql(do_block)
    except pglast.Error as error:
        return [], f"cannot be parsed: {error.args[0]}"
    found: list[tuple[str, bool]] = []
    blind: list[str] = []
    for function in parsed:
        _plpgsql(function.get("PLpgSQL_function", {}).get("action"), False, found, blind)
    return found, ", ".join(dict.fromkeys(blind))


_HARMLESS = ("PLpgSQL_stmt_return", "PLpgSQL_stmt_raise", "PLpgSQL_stmt_assign", "PLpgSQL_stmt_assert")


def _plpgsql(node: Any, optional: bool, found: list[tuple[str, bool]], blind: list[str]) -> None:
    if isinstance(node, list):
        for one in node:
            _plpgsql(one, optional, found, blind)
        return
    for kind, body in (node or {}).items():
        if kind == "PLpgSQL_stmt_block":
            _plpgsql(body.get("body"), optional or "exceptions" in body, found, blind)
            for handler in (body.get("exceptions") or {}).get("PLpgSQL_exception_block", {}).get("exc_list", []):
                _plpgsql(handler["PLpgSQL_exception"].get("action"), True, found, blind)
        elif kind == "PLpgSQL_stmt_if":
            _plpgsql(body.get("then_body"), True, found, blind)
            for other in body.get("elsif_list", []):
                _plpgsql(other["PLpgSQL_if_elsif"].get("stmts"), True, found, blind)
            _plpgsql(body.get("else_body"), True, found, blind)
        elif kind == "PLpgSQL_stmt_execsql":
            found.append((body["sqlstmt"]["PLpgSQL_expr"]["query"], optional))
        elif kind == "PLpgSQL_stmt_perform":
            found.append((body["expr"]["PLpgSQL_expr"]["query"], optional))
        elif kind == "PLpgSQL_stmt_dynexecute":
            blind.append("EXECUTE of a text that is put together at run time")
        elif kind not in _HARMLESS:
            blind.append({"PLpgSQL_stmt_fors": "a loop over rows"}.get(kind, kind.replace("PLpgSQL_stmt_", "")))
