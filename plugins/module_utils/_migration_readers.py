# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parse trees to actions: one function for each kind of statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import (
    Action,
    column_of_definition,
    constraint_of,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Node,
    bare,
    columns_in,
    functions_in,
    is_a,
    name_of,
    of_type,
    option,
    rendered,
    walk,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_types import canonical


def _create_table(node: Node) -> Iterator[Action]:
    name = name_of(node.relation)
    columns = tuple(column_of_definition(one, name) for one in node.tableElts or () if is_a(one, "ColumnDef"))
    constraints = [constraint_of(one, name) for one in node.tableElts or () if is_a(one, "Constraint")]
    parents = [name_of(one) for one in node.inhRelations or ()]
    likes = [name_of(one.relation) for one in node.tableElts or () if is_a(one, "TableLikeClause")]
    yield Action(
        "create table",
        name,
        to=parents[0] if parents and node.partbound else "",
        columns=columns,
        constraints=tuple(filter(None, constraints)) + tuple(check for one in columns for check in one.constraints),
        tolerant=bool(node.if_not_exists),
        node=node,
        more={
            "parents": parents,
            "like": likes,
            "default_partition": bool(node.partbound and node.partbound.is_default),
        },
    )


def _alter_table(node: Node) -> Iterator[Action]:
    name = name_of(node.relation)
    kind = node.objtype.name.replace("OBJECT_", "")
    if kind not in ("TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE"):
        yield Action("alter other", name, more={"kind": kind.lower()}, tolerant=bool(node.missing_ok))
        return
    for command in node.cmds:
        yield from _alter_command(name, command, bool(node.missing_ok))


def _alter_command(name: str, command: Node, missing_ok: bool) -> Iterator[Action]:
    what = command.subtype.name.removeprefix("AT_")
    cascade = command.behavior.name == "DROP_CASCADE"
    column, define = str(command.name or ""), command.def_
    tolerant = bool(command.missing_ok) or missing_ok
    if what == "AddColumn":
        new = column_of_definition(define, name)
        yield Action("add column", name, new.name, new=new, tolerant=tolerant)
    elif what == "AlterColumnType":
        using = define.raw_default
        plain = using is None or (
            is_a(using, "TypeCast") and columns_in(using.arg) == {column} and is_a(using.arg, "ColumnRef")
        )
        yield Action("alter type", name, column, to=canonical(rendered(define.typeName)), more={"converts": not plain})
    elif what == "ColumnDefault" and define is not None:
        calls = frozenset(functions_in(define))
        yield Action("set default", name, column, to=rendered(define), more={"calls": calls}, node=define)
    elif what == "AddConstraint":
        check = constraint_of(define, name)
        if check is not None:
            yield Action("add constraint", name, check=check)
        elif define.contype.name == "CONSTR_NOTNULL":
            yield Action("set not null", name, name_of(define.keys[0]))
    elif what in ("AttachPartition", "DetachPartition"):
        verb = "attach partition" if what == "AttachPartition" else "detach partition"
        yield Action(verb, name, to=name_of(define.name), concurrently=bool(define.concurrent), node=define.bound)
    elif what == "ChangeOwner":
        yield Action("owner", name, to=str(command.newowner.rolename or ""))
    else:
        verb = _ALTER_VERBS.get(what, "alter table otherwise")
        yield Action(verb, name, column, tolerant=tolerant, cascade=cascade, more={"what": what})


_ALTER_VERBS = {
    "DropColumn": "drop column",
    "SetNotNull": "set not null",
    "DropNotNull": "drop not null",
    "ColumnDefault": "drop default",
    "AddIdentity": "add identity",
    "DropIdentity": "drop default",
    "DropExpression": "drop default",
    "ValidateConstraint": "validate constraint",
    "DropConstraint": "drop constraint",
    "EnableTrig": "enable trigger",
    "EnableTrigAll": "enable trigger",
    "EnableTrigUser": "enable trigger",
    "DisableTrig": "disable trigger",
    "DisableTrigAll": "disable trigger",
    "DisableTrigUser": "disable trigger",
    "EnableRowSecurity": "enable row security",
    "DisableRowSecurity": "disable row security",
    "ForceRowSecurity": "enable row security",
    "SetLogged": "rewrite",
    "SetUnLogged": "rewrite",
    "SetTableSpace": "rewrite",
    "SetAccessMethod": "rewrite",
    "SetStatistics": "harmless",
    "SetRelOptions": "harmless",
    "ResetRelOptions": "harmless",
    "SetOptions": "harmless",
    "SetStorage": "brief",
    "ClusterOn": "harmless",
    "ReplicaIdentity": "brief",
}

_DROPS = {
    "TABLE": "drop table",
    "VIEW": "drop view",
    "MATVIEW": "drop view",
    "INDEX": "drop index",
    "SEQUENCE": "drop sequence",
    "FUNCTION": "drop function",
    "PROCEDURE": "drop function",
    "TYPE": "drop type",
    "DOMAIN": "drop type",
    "TRIGGER": "drop trigger",
    "POLICY": "drop policy",
    "SCHEMA": "drop schema",
    "EXTENSION": "drop extension",
    "RULE": "drop trigger",
}


def _drop(node: Node) -> Iterator[Action]:
    kind = node.removeType.name.removeprefix("OBJECT_")
    verb = _DROPS.get(kind, "drop other")
    for one in node.objects:
        parts = [name_of(part) for part in one] if isinstance(one, tuple) else [name_of(one)]
        table = ".".join(parts[:-1]) if kind in ("TRIGGER", "POLICY", "RULE") else ".".join(parts)
        yield Action(
            verb,
            table,
            parts[-1] if kind in ("TRIGGER", "POLICY", "RULE") else "",
            tolerant=bool(node.missing_ok),
            cascade=node.behavior.name == "DROP_CASCADE",
            concurrently=bool(node.concurrent),
        )


def _rename(node: Node) -> Iterator[Action]:
    kind = node.renameType.name.removeprefix("OBJECT_")
    new, tolerant = str(node.newname), bool(node.missing_ok)
    if kind in ("TABLE", "VIEW", "MATVIEW"):
        yield Action("rename table", name_of(node.relation), to=new, tolerant=tolerant)
    elif kind == "COLUMN":
        yield Action("rename column", name_of(node.relation), str(node.subname), to=new, tolerant=tolerant)
    elif kind == "TABCONSTRAINT":
        yield Action("rename constraint", name_of(node.relation), str(node.subname), to=new, tolerant=tolerant)
    elif kind == "INDEX":
        yield Action("rename index", name_of(node.relation), to=new, tolerant=tolerant)
    elif kind in ("FUNCTION", "PROCEDURE"):
        yield Action("drop function", name_of(node.object), to=new)
    elif kind == "TYPE":
        yield Action("rename type", name_of(node.object), to=new)
    elif kind == "SEQUENCE":
        yield Action("rename sequence", name_of(node.relation), to=new)
    else:
        yield Action("alter other", rendered(node), more={"kind": kind.lower()})


def _index(node: Node) -> Iterator[Action]:
    columns = tuple(str(one.name or "") for one in node.indexParams)
    yield Action(
        "create index",
        name_of(node.relation),
        str(node.idxname or "_".join([str(node.relation.relname), *filter(None, columns), "idx"])),
        tolerant=bool(node.if_not_exists),
        concurrently=bool(node.concurrent),
        more={
            "columns": columns,
            "unique": bool(node.unique),
            "plain": node.whereClause is None and all(columns),
            "only": not node.relation.inh,
            "calls": functions_in(node.indexParams) | functions_in(node.whereClause),
        },
    )


def _view(node: Node) -> Iterator[Action]:
    yield Action("create view", name_of(node.view), node=node.query, more={"replace": bool(node.replace)})


def _create_as(node: Node) -> Iterator[Action]:
    verb = "create matview" if node.objtype.name == "OBJECT_MATVIEW" else "create table as"
    yield Action(verb, name_of(node.into.rel), tolerant=bool(node.if_not_exists), node=node.query)


def _function(node: Node) -> Iterator[Action]:
    body = option(node.options, "as")
    text = " ".join(str(one.sval) for one in walk(body) if is_a(one, "String")) if body is not None else rendered(node)
    word = next((str(one.arg.sval) for one in node.options or () if one.defname == "volatility"), "volatile")
    yield Action(
        "create function", name_of(node.funcname), to=text, more={"replace": bool(node.replace), "volatility": word[0]}
    )


def _trigger(node: Node) -> Iterator[Action]:
    events = [
        word for bit, word in ((4, "insert"), (8, "delete"), (16, "update"), (32, "truncate")) if node.events & bit
    ]
    more = {"events": frozenset(events), "function": bare(name_of(node.funcname)), "columns": node.columns}
    yield Action("create trigger", name_of(node.relation), str(node.trigname), tolerant=bool(node.replace), more=more)


def _enum(node: Node) -> Iterator[Action]:
    if node.oldVal:
        yield Action("rename value", name_of(node.typeName), str(node.oldVal), to=str(node.newVal))
    else:
        yield Action("add value", name_of(node.typeName), to=str(node.newVal), tolerant=bool(node.skipIfNewValExists))


def _grant(node: Node) -> Iterator[Action]:
    privileges = tuple(str(one.priv_name) for one in node.privileges or ())
    roles = tuple(str(one.rolename or "public") for one in node.grantees or ())
    kind = node.objtype.name.removeprefix("OBJECT_").lower()
    for one in node.objects or ():
        name = name_of(one)
        more = {
            "privileges": privileges,
            "roles": roles,
            "kind": kind,
            "all": node.targtype.name != "ACL_TARGET_OBJECT",
        }
        yield Action("grant" if node.is_grant else "revoke", name, more=more)


def _write(verb: str) -> Callable[[Node], Iterator[Action]]:
    def read(node: Node) -> Iterator[Action]:
        yield Action(verb, name_of(node.relation), node=node)

    return read


def _truncate(node: Node) -> Iterator[Action]:
    for one in node.relations:
        yield Action("truncate", name_of(one), cascade=node.behavior.name == "DROP_CASCADE")


def _select(node: Node) -> Iterator[Action]:
    yield Action("select", node=node)


def _lock(node: Node) -> Iterator[Action]:
    for one in node.relations:
        yield Action("lock table", name_of(one), more={"mode": int(node.mode)})


def _vacuum(node: Node) -> Iterator[Action]:
    full = bool(option(node.options, "full"))
    verb = ("vacuum full" if full else "vacuum") if node.is_vacuumcmd else "analyze"
    for one in node.rels or (None,):
        yield Action(verb, name_of(one.relation) if one is not None else "")


def _transaction(node: Node) -> Iterator[Action]:
    kind = node.kind.name.removeprefix("TRANS_STMT_").lower()
    yield Action({"begin": "begin", "start": "begin", "commit": "commit", "rollback": "rollback"}.get(kind, "harmless"))


def _variable(node: Node) -> Iterator[Action]:
    value = ""
    if node.kind.name == "VAR_SET_VALUE" and node.args:
        value = rendered(node.args[0]).strip("'\"")
    yield Action("set", str(node.name or ""), to=value, more={"local": bool(node.is_local), "reset": not value})


def _sequence(node: Node) -> Iterator[Action]:
    words = {str(one.defname): one.arg for one in node.options or ()}
    to = canonical(rendered(words["as"])) if "as" in words else ""
    yield Action(
        "alter sequence", name_of(node.sequence), to=to, tolerant=bool(node.missing_ok), more={"words": set(words)}
    )


def _reindex(node: Node) -> Iterator[Action]:
    kind = node.kind.name.removeprefix("REINDEX_OBJECT_").lower()
    name = name_of(node.relation) if node.relation else str(node.name or "")
    yield Action("reindex", name, concurrently=option(node.params, "concurrently") is not None, more={"kind": kind})


def _simple(verb: str, name: Callable[[Node], str] = lambda node: "") -> Callable[[Node], Iterator[Action]]:
    def read(node: Node) -> Iterator[Action]:
        yield Action(verb, name(node), tolerant=bool(getattr(node, "if_not_exists", False)), node=node)

    return read


def _refresh(node: Node) -> Iterator[Action]:
    yield Action("refresh", name_of(node.relation), concurrently=bool(node.concurrent))


def _set_schema(node: Node) -> Iterator[Action]:
    if node.objectType.name in ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW"):
        yield Action("set schema", name_of(node.relation), to=str(node.newschema), tolerant=bool(node.missing_ok))
    else:
        yield Action("alter other", rendered(node), more={"kind": "schema"})


_READERS: dict[str, Callable[[Node], Iterator[Action]]] = {
    "CreateStmt": _create_table,
    "AlterTableStmt": _alter_table,
    "DropStmt": _drop,
    "RenameStmt": _rename,
    "IndexStmt": _index,
    "ViewStmt": _view,
    "CreateTableAsStmt": _create_as,
    "CreateFunctionStmt": _function,
    "CreateTrigStmt": _trigger,
    "AlterEnumStmt": _enum,
    "CreateEnumStmt": _simple("create enum", lambda node: name_of(node.typeName)),
    "CompositeTypeStmt": _simple("harmless"),
    "CreateDomainStmt": _simple("create domain", lambda node: name_of(node.domainname)),
    "CreateSeqStmt": _simple("create sequence", lambda node: name_of(node.sequence)),
    "AlterSeqStmt": _sequence,
    "CreateSchemaStmt": _simple("create schema", lambda node: str(node.schemaname)),
    "CreateExtensionStmt": _simple("harmless"),
    "CommentStmt": _simple("harmless"),
    "CreatePolicyStmt": _simple("create policy", lambda node: name_of(node.table)),
    "AlterPolicyStmt": _simple("create policy", lambda node: name_of(node.table)),
    "GrantStmt": _grant,
    "InsertStmt": _write("insert"),
    "UpdateStmt": _write("update"),
    "DeleteStmt": _write("delete"),
    "MergeStmt": _write("update"),
    "TruncateStmt": _truncate,
    "SelectStmt": _select,
    "LockStmt": _lock,
    "ClusterStmt": _simple("cluster", lambda node: name_of(node.relation) if node.relation else ""),
    "VacuumStmt": _vacuum,
    "RefreshMatViewStmt": _refresh,
    "ReindexStmt": _reindex,
    "TransactionStmt": _transaction,
    "VariableSetStmt": _variable,
    "AlterObjectSchemaStmt": _set_schema,
    "CreateRoleStmt": _simple("harmless"),
    "AlterDefaultPrivilegesStmt": _simple("default privileges"),
    "VariableShowStmt": _simple("harmless"),
    "CreateStatsStmt": _simple("harmless"),
}


def actions_of(node: Node) -> list[Action]:
    """All that a statement does. What is not known has the verb `other`."""
    reader = _READERS.get(type(node).__name__)
    return list(reader(node)) if reader else [Action("other", type(node).__name__, node=node)]


def bookkeeping(node: Node) -> bool:
    """Whether a statement is Alembic's own note of where the database is."""
    relations = {str(one.relname) for one in of_type(node, "RangeVar")}
    return relations == {"alembic_version"}
