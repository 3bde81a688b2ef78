"""Plan nodes and calls in the text of a query, as `spark.sql` has it."""

from dataclasses import dataclass, field
from typing import Any

from cdc_local.engines.known.calls import Found
from cdc_local.engines.known.sql_text import nulls_of, parse_query, read_tree, write_text

# What a SELECT may have
_CLAUSES = {
    "expressions",
    "from_",
    "joins",
    "laterals",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "distinct",
    "hint",
    "with_",
    "operation_modifiers",
}
_JOINS = {
    "": "INNER",
    "INNER": "INNER",
    "CROSS": "CROSS",
    "LEFT": "LEFT_OUTER",
    "LEFT OUTER": "LEFT_OUTER",
    "RIGHT": "RIGHT_OUTER",
    "RIGHT OUTER": "RIGHT_OUTER",
    "FULL": "FULL_OUTER",
    "FULL OUTER": "FULL_OUTER",
    "LEFT SEMI": "LEFT_SEMI",
    "SEMI": "LEFT_SEMI",
    "LEFT ANTI": "LEFT_ANTI",
    "ANTI": "LEFT_ANTI",
}


@dataclass
class Scope:
    "Expressions that name the columns of one FROM clause."

    before: str  # SQL before an expression, `WITH … SELECT`
    clause: str  # SQL after it, `FROM …`
    found: Found = field(default_factory=Found)
    keys: list[str] = field(default_factory=list)  # SQL of expressions by whose types rows are compared


@dataclass
class Query:
    "What the text of a query is made of."

    nodes: set[str] = field(default_factory=set)  # As the list names them
    scopes: list[Scope] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)  # Sentences


def read_query(
    sql: str,  # One query
) -> Query:
    "Find the plan nodes and calls of a query; what is not understood is not guessed."
    reader = _QueryReader()
    tree = parse_query(sql)
    if tree is None:
        reader.query.unknown.add("the SQL query is not read")
    else:
        reader.read(tree, [])
    return reader.query


class _QueryReader:
    "Walks a parsed query."

    def __init__(self) -> None:
        self.query = Query()

    def read(
        self,
        tree: Any,  # A SELECT, a union, or either in brackets
        tables: list[str],  # SQL of the named queries before it, `a AS (SELECT 1)`
    ) -> None:
        "Note the nodes and calls of a query and of all inside it."
        tables = self._read_tables(tree, tables)
        kind = type(tree).__name__
        if kind == "Select":
            self._read_select(tree, tables)
        elif kind == "Union":
            self._read_union(tree, tables)
        elif kind == "Subquery" and self._has_only(tree, {"this", "alias", "with_"}):
            self.query.nodes.add("subquery_alias")
            self.read(tree.this, tables)
        else:
            self._refuse(tree)

    def _refuse(self, node: Any) -> None:
        self.query.unknown.add(f"the SQL text `{write_text(node)}` is not read")

    def _has_only(self, node: Any, names: set[str]) -> bool:
        others = {name for name, value in node.args.items() if value} - names
        if others:
            self._refuse(node)
        return not others

    def _read_tables(self, tree: Any, tables: list[str]) -> list[str]:
        "The named queries that a query can use."
        clause = tree.args.get("with_")
        if clause is None:
            return tables
        if clause.args.get("recursive"):
            self._refuse(clause)
        for table in clause.expressions:
            self.read(table.this, tables)
            tables = [*tables, write_text(table)]
        return tables

    def _read_union(self, tree: Any, tables: list[str]) -> None:
        if not self._has_only(tree, {"this", "expression", "distinct", "with_"}):
            return
        self.query.nodes.add("set_op UNION ALL")
        if tree.args.get("distinct"):
            self.query.nodes.add("deduplicate")
            self._scope(f"({write_text(tree)})", tables).keys.append("*")
        self.read(tree.this, tables)
        self.read(tree.expression, tables)

    def _scope(self, clause: str, tables: list[str]) -> Scope:
        named = f"WITH {', '.join(tables)} " if tables else ""
        scope = Scope(f"{named}SELECT", f"FROM {clause}" if clause else "")
        self.query.scopes.append(scope)
        return scope

    def _read_select(self, tree: Any, tables: list[str]) -> None:
        if not self._has_only(tree, _CLAUSES):
            return
        self.query.nodes.add("project")
        clause = self._read_from(tree, tables)
        scope = self._scope(clause, tables)
        names = {one.alias.lower(): one.this for one in tree.expressions if type(one).__name__ == "Alias"}
        for one in tree.expressions:
            if not _is_star(one):
                self._read_into(scope, one)
        if tree.args.get("where"):
            self.query.nodes.add("filter")
            self._read_into(scope, tree.args["where"].this)
        for lateral in tree.args.get("laterals") or []:
            self.query.nodes.add("lateral view")
            self._read_into(scope, lateral.this)
        self._read_groups(tree, scope, names)
        self._read_end(tree, scope, names)

    def _read_into(self, scope: Scope, node: Any, names: dict[str, Any] | None = None) -> None:
        "Note the calls of an expression, what SELECT named put in its place."
        found = read_tree(_named(node, names or {}))
        scope.found.calls += found.calls
        scope.found.unknown |= found.unknown

    def _read_from(self, tree: Any, tables: list[str]) -> str:  # SQL after FROM, empty where there is none
        if tree.args.get("from_") is None:
            return ""
        sides, clause = [tree.args["from_"].this], ""
        self._read_relation(sides[0], tables)
        clause = write_text(sides[0])
        for join in tree.args.get("joins") or []:
            clause = self._read_join(join, clause, tables)
        return "".join([clause, *(f" {write_text(one)}" for one in tree.args.get("laterals") or [])])

    def _read_relation(self, node: Any, tables: list[str]) -> None:
        kind = type(node).__name__
        if kind == "Table" and type(node.this).__name__ == "Identifier":
            if self._has_only(node, {"this", "db", "catalog", "alias"}):
                self.query.nodes.add(
                    "read delta"
                    if node.args.get("db") is not None and (node.args["db"].name.lower() == "delta")
                    else "read table"
                )
        elif kind == "Subquery":
            self.read(node, tables)
        else:
            self._refuse(node)

    def _read_join(self, join: Any, before: str, tables: list[str]) -> str:  # SQL of all sides so far
        how = " ".join(str(join.args.get(part) or "") for part in ("side", "kind")).strip().upper()
        known = self._has_only(join, {"this", "side", "kind", "on", "using"})
        if not known or how not in _JOINS:
            self._refuse(join)
            return before
        bare = how == "" and not join.args.get("on") and not join.args.get("using")
        self.query.nodes.add(f"join {'CROSS' if bare else _JOINS[how]}")
        self._read_relation(join.this, tables)
        beside = f"{before} CROSS JOIN {write_text(join.this)}"
        if join.args.get("on"):
            self._read_into(self._scope(beside, tables), join.args["on"])
        for column in join.args.get("using") or []:
            self._scope(before, tables).keys.append(f"`{column.name}`")
        return f"{before} {write_text(join)}"

    def _read_groups(self, tree: Any, scope: Scope, names: dict[str, Any]) -> None:
        group = tree.args.get("group")
        if group is not None and self._has_only(group, {"expressions"}):
            self.query.nodes.add("aggregate GROUPBY")
            for one in group.expressions:
                one = _numbered(one, tree)
                self._read_into(scope, one, names)
                scope.keys.append(write_text(_named(one, names)))
        if tree.args.get("having"):
            self.query.nodes.add("filter")
            self._read_into(scope, tree.args["having"].this, names)
        if tree.args.get("distinct"):
            if not self._has_only(tree.args["distinct"], set()):
                return
            self.query.nodes.add("deduplicate")
            scope.keys += [write_text(one) for one in tree.expressions]

    def _read_end(self, tree: Any, scope: Scope, names: dict[str, Any]) -> None:
        order = tree.args.get("order")
        if order is not None and self._has_only(order, {"expressions"}):
            self.query.nodes.add("sort")
            for one in order.expressions:
                if self._has_only(one, {"this", "desc", "nulls_first"}):
                    self._read_into(scope, _order_of(_numbered(one.this, tree), nulls_of(one)), names)
        if tree.args.get("limit"):
            self.query.nodes.add("limit without sort" if order is None else "limit")


def _is_star(node: Any) -> bool:
    return type(node).__name__ == "Star" or (
        type(node).__name__ == "Column" and type(node.this).__name__ == "Star"
    )


def _numbered(node: Any, tree: Any) -> Any:
    "What `ORDER BY 2` names."
    if type(node).__name__ == "Literal" and not node.is_string and node.name.isdigit():
        place = int(node.name) - 1
        return tree.expressions[place].unalias() if place < len(tree.expressions) else node
    return node


def _order_of(node: Any, nulls: str) -> Any:
    "An order by an expression, as a call of its own."
    from sqlglot import exp

    return exp.Anonymous(this=f"sort by{nulls}", expressions=[node.copy()])


def _named(node: Any, names: dict[str, Any]) -> Any:
    "Put what SELECT named in the places of its names."
    if not names:
        return node

    def replace(part: Any) -> Any:
        is_name = type(part).__name__ == "Column" and len(part.parts) == 1
        return names[part.name.lower()].copy() if is_name and part.name.lower() in names else part

    return node.copy().transform(replace)
