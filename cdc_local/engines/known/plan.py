"""What of a query is not on the list of what is known to be the same on Sail and on Spark."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from cdc_local.engines.known.bounds import always_fits
from cdc_local.engines.known.calls import Call, Found, constant_of, is_whole_literal, variable_types
from cdc_local.engines.known.expressions import parts_of_message, read_expression
from cdc_local.engines.known.listed import FITS, Known, read_known, write_call
from cdc_local.engines.known.queries import Scope, read_query

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_ARITHMETIC = ("+", "-", "*", "/", "%", "div")
_LONGEST = 300  # Characters of a sentence: a type can be long


def find_unknown(
    frame: "DataFrame",  # Of a session of Spark Connect
    known: Known | None = None,  # The list of this package by default
) -> list[str]:  # Sentences, sorted; none where all of the query is known
    """Find what of a query is not known to give the same on Sail and on Spark.

    Types of arguments are asked of the frame's engine. What can't be read is not known.
    """
    client = cast(Any, frame).sparkSession.client
    return find_unknown_in_plan(client, cast(Any, frame)._plan.plan(client), known)


def find_unknown_in_plan(
    client: Any,  # Of a session of Spark Connect
    relation: Any,  # The root of a plan
    known: Known | None = None,  # The list of this package by default
) -> list[str]:  # Sentences, sorted; none where all of the query is known
    "Find what of a plan is not known to give the same on Sail and on Spark."
    reader = _PlanReader(client, known or read_known())
    reader.read_relation(relation)
    return sorted(reader.unknown)


def find_unknown_rule(
    frame: "DataFrame",  # Whose columns the rule names, of a session of Spark Connect
    constraint: "Column | str",  # The rule: a column, or SQL text
    known: Known | None = None,  # The list of this package by default
) -> list[str]:  # Sentences, sorted; none where all of the rule is known
    "Find what of a rule, or of another expression over a frame, is not known to give the same."
    from pyspark.sql import functions as F

    client = cast(Any, frame).sparkSession.client
    column: Any = F.expr(constraint) if isinstance(constraint, str) else constraint
    reader = _PlanReader(client, known or read_known())
    reader.read_expressions([column.to_plan(client)], cast(Any, frame)._plan.plan(client))
    return sorted(reader.unknown)


def find_nodes(
    frame: "DataFrame",  # Of a session of Spark Connect
) -> list[str]:  # `filter`, `join INNER`, sorted
    "Find the kinds of plan nodes of a query."
    client = cast(Any, frame).sparkSession.client
    reader = _PlanReader(client, Known(frozenset(), frozenset()))
    reader.read_relation(cast(Any, frame)._plan.plan(client))
    return sorted(reader.nodes)


def _node_name(relation: Any) -> str:
    "The kind of a node, with what makes it another kind of work: `join INNER`, `read delta`."
    kind = str(relation.WhichOneof("rel_type"))
    node = getattr(relation, kind)
    if kind == "read":
        source = node.data_source.format if node.HasField("data_source") else "table"
        return f"read {source} as a stream" if node.is_streaming else f"read {source}"
    if kind == "join":
        return f"join {node.JoinType.Name(node.join_type).removeprefix('JOIN_TYPE_')}"
    if kind == "set_op":
        name = node.SetOpType.Name(node.set_op_type).removeprefix("SET_OP_TYPE_")
        return f"set_op {name}" + (" ALL" if node.is_all else "") + (" BY NAME" if node.by_name else "")
    if kind in ("limit", "offset") and not _is_sorted(node.input):
        return f"{kind} without sort"  # any rows may be the first ones
    if kind == "deduplicate" and not node.all_columns_as_keys:
        return "deduplicate by some columns"  # which row of several stays is nobody's promise
    if kind == "aggregate":
        return f"aggregate {node.GroupType.Name(node.group_type).removeprefix('GROUP_TYPE_')}"
    return kind


def has_order(
    frame: "DataFrame",  # Of a session of Spark Connect
) -> bool:  # Whether its rows are sorted, or it has one row at most
    "Whether the order of a query's rows is one that the query says."
    client = cast(Any, frame).sparkSession.client
    return _is_sorted(cast(Any, frame)._plan.plan(client))


def _is_sorted(relation: Any) -> bool:
    kind = relation.WhichOneof("rel_type")
    if kind in ("limit", "offset"):
        return _is_sorted(getattr(relation, kind).input)
    return kind == "sort" or _has_one_row(relation)


def _has_one_row(relation: Any) -> bool:
    "Whether a node is an aggregate over all rows, or made of one."
    kind = relation.WhichOneof("rel_type")
    node = getattr(relation, kind)
    if kind == "aggregate":
        return not node.grouping_expressions
    return kind in ("project", "with_columns", "subquery_alias", "filter") and _has_one_row(node.input)


def _top_expressions(message: Any, relations: list[Any]) -> list[Any]:
    "The expressions of a node that stand in no other; `relations` gets what is below the node."
    found = []
    for part in parts_of_message(message):
        name = part.DESCRIPTOR.full_name
        if name == "spark.connect.Relation":
            relations.append(part)
        elif name == "spark.connect.Expression":
            found.append(part)
        elif name == "spark.connect.Expression.SortOrder":
            found.append(_expression(sort_order=part))
        else:
            found += _top_expressions(part, relations)
    return found


@dataclass(frozen=True)
class _TextSource:
    "A FROM clause in the text of a query."

    scope: Scope
    views: tuple[Any, ...] = ()  # Relations that the text names


def _text(sql: str) -> Any:
    if sql == "*":
        return _expression(unresolved_star={})
    return _expression(expression_string={"expression": sql})


def _sql_of(column: Any) -> str:
    "The text of an expression that was read in a query."
    if column.WhichOneof("expr_type") == "unresolved_star":
        return "*"
    if column.WhichOneof("expr_type") == "alias":
        return f"{_sql_of(column.alias.expr)} AS {column.alias.name[0]}"
    return str(column.expression_string.expression)


def _expression(**parts: Any) -> Any:
    from pyspark.sql.connect.proto import expressions_pb2

    return expressions_pb2.Expression(**parts)


def _column(name: str) -> Any:
    "A column by its exact name."
    quoted = name.replace("`", "``")
    return _expression(unresolved_attribute={"unparsed_identifier": f"`{quoted}`"})


class _PlanReader:
    """Walks a plan of Spark Connect and notes what the list does not have."""

    def __init__(self, client: Any, known: Known) -> None:
        self.client, self.known = client, known
        self.unknown: set[str] = set()
        self.nodes: set[str] = set()

    def read_relation(
        self,
        relation: Any,  # A node of the plan
    ) -> None:
        "Note what is not known of a node and of all below it."
        name = _node_name(relation)
        node = getattr(relation, relation.WhichOneof("rel_type"))
        if _is_stand_in(relation):
            return
        if name == "sql":
            self._read_sql(node)
            return
        if name == "with_relations" and node.root.WhichOneof("rel_type") == "sql":
            self._note_nodes({name})
            self._read_sql(node.root.sql, tuple(node.references))
            return
        self._note_nodes({name})
        below: list[Any] = []
        expressions = _top_expressions(node, below)
        for part in below:
            self.read_relation(part)
        source = _source_of(relation, node)
        self.read_expressions(expressions, source)
        self._read_keys(name, node, source)

    def _note_nodes(self, names: set[str]) -> None:
        self.nodes |= names
        self._note({f"the plan node `{name}` is not known" for name in names - self.known.nodes})

    def _read_sql(self, node: Any, views: tuple[Any, ...] = ()) -> None:
        "Note what is not known of the text of a query, and of the relations that it names."
        for view in views:
            self.read_relation(view)
        query = read_query(node.query)
        self._note_nodes(query.nodes)
        self._note(query.unknown)
        for scope in query.scopes:
            source = _TextSource(scope, views)
            self._judge_all(scope.found, source)
            self._judge_keys([_text(key) for key in scope.keys], source)

    def read_expressions(
        self,
        expressions: list[Any],  # Of Spark Connect
        source: Any,  # The relation whose columns they name
    ) -> None:
        "Note what is not known of expressions; lambdas are read when the types of their variables are had."
        found = Found()
        for expression in expressions:
            one = read_expression(expression)
            found.calls += one.calls
            found.unknown |= one.unknown
        self._judge_all(found, source)

    def _judge_all(self, found: Found, source: Any) -> None:
        "Note what is not known of calls, and of the lambdas in them."
        self._note(found.unknown)
        if not found.calls:
            return
        types = self._types_of([part for call in found.calls for part in call.arguments], source)
        self.read_expressions([body for call in found.calls for body in self._judge(call, types)], source)

    def _note(self, sentences: set[str]) -> None:
        self.unknown |= {one if len(one) < _LONGEST else f"{one[: _LONGEST - 1]}…" for one in sentences}

    def _judge(self, call: Call, types: dict[bytes, Any]) -> list[Any]:  # Bodies of its lambdas
        "Note a call that is not on the list."
        kinds: list[Any] = [types.get(_key(part)) if _is_message(part) else part for part in call.arguments]
        if None in kinds:
            self._note({f"`{call.name}` is not known: the types of its arguments can't be had"})
            return []
        if not self._is_known(call, kinds) and not self._fits(call, kinds, types):
            self._note({f"`{write_call(call.name, kinds)}` is not known"})
        if not call.lambdas:
            return []
        variables = variable_types(call.name, kinds)
        bodies = [
            part.bind(kinds_of_one) for part, kinds_of_one in zip(call.lambdas, variables or [], strict=False)
        ]
        if len(bodies) < len(call.lambdas) or None in bodies:
            self._note({f"`{call.name}` is not known: the types of its variables can't be had"})
        return [body for body in bodies if body is not None]

    def _is_known(self, call: Call, kinds: list[Any]) -> bool:
        "Whether a call is on the list; beside a decimal, Spark gives a literal fewer digits than its type."
        is_decimal = any(write_call("", [kind]).startswith("(decimal") for kind in kinds)
        if call.name in _ARITHMETIC and is_decimal and any(map(is_whole_literal, call.arguments)):
            return False
        return self.known.has(call.name, kinds, [constant_of(part) for part in call.arguments])

    def _fits(self, call: Call, kinds: list[Any], types: dict[bytes, Any]) -> bool:
        "Whether a sum is known as one that never leaves its type."
        return self.known.has(f"{call.name} {FITS}", kinds) and always_fits(
            call, lambda part: types.get(_key(part)) if _is_message(part) else part
        )

    def _read_keys(self, name: str, node: Any, source: Any) -> None:
        "Note the types by which rows are grouped or compared, where the list does not have them."
        everything = [_expression(unresolved_star={})]
        if name.startswith("aggregate"):
            self._judge_keys(list(node.grouping_expressions), source)
        elif name.startswith("join"):
            columns = [_column(name) for name in node.using_columns]
            self._judge_keys(columns, node.left)
            self._judge_same_types(name, columns, node.left, node.right)
        elif name == "deduplicate":
            self._judge_keys(everything, node.input)
        elif name.startswith("set_op"):
            if "UNION ALL" not in name:
                self._judge_keys(everything, node.left_input)
            self._judge_same_types(name, everything, node.left_input, node.right_input)

    def _judge_same_types(self, name: str, columns: list[Any], left: Any, right: Any) -> None:
        "Note columns that are matched and have two types: which one they get differs."
        types = [self._ask(columns, side) or [] for side in (left, right)] if columns else []
        if any(_differ(*both) for both in zip(*types, strict=False)) or len({*map(len, types)}) > 1:
            texts = ["; ".join(kind.simpleString() for kind in kinds) for kinds in types]
            self._note({f"`{name}` of the types {texts[0]} and {texts[1]} is not known"})

    def _judge_keys(self, keys: list[Any], source: Any) -> None:
        "Note types by which rows are grouped or compared."
        kinds = self._ask(keys, source) if keys else []
        if kinds is None:
            self._note({"`group by` is not known: the types of its columns can't be had"})
        unknown = {write_call("group by", [kind]) for kind in kinds or [] if not self._groups(kind)}
        self._note({f"`{call}` is not known" for call in unknown})

    def _groups(self, kind: Any) -> bool:
        return self.known.has("group by", [kind])

    def _types_of(
        self,
        parts: list[Any],  # Expressions, and what is none
        source: Any,  # The relation whose columns they name
    ) -> dict[bytes, Any]:  # Expression -> type, where the engine can say
        "Ask for the types of expressions over a relation: all at once, one by one where that fails."
        asked = list({_key(part): part for part in parts if _is_message(part)}.values())
        if not asked:
            return {}
        types = self._ask(asked, source)
        if types is None:
            each = [self._ask([part], source) for part in asked]
            types = [one[0] if one else None for one in each]
        return {_key(part): kind for part, kind in zip(asked, types, strict=True)}

    def _ask(self, parts: list[Any], source: Any) -> list[Any] | None:
        "Ask the engine for the types of expressions, None where it can't say."
        from pyspark.errors import PySparkException
        from pyspark.sql.connect.proto import base_pb2, relations_pb2

        columns = [
            part
            if part.WhichOneof("expr_type") == "unresolved_star"
            else _expression(alias={"expr": part, "name": [f"c{at}"]})
            for at, part in enumerate(parts)
        ]
        relation = relations_pb2.Relation()
        if isinstance(source, _TextSource):
            listed = ", ".join(map(_sql_of, columns))
            query = f"{source.scope.before} {listed} {source.scope.clause}"
            (relation.with_relations.root if source.views else relation).sql.query = query
            if source.views:
                relation.with_relations.references.extend(source.views)
        else:
            relation.project.expressions.extend(columns)
        if source is not None and not isinstance(source, _TextSource):  # a query may have no source
            relation.project.input.CopyFrom(source)
        try:
            schema = self.client.schema(base_pb2.Plan(root=relation))
        except PySparkException:
            return None
        return [field.dataType for field in schema]


def _is_stand_in(relation: Any) -> bool:
    "Whether a node is what stands for a stream, `SailEngine.stand_in_stream`: columns and no row."
    rows = relation.project.input if relation.WhichOneof("rel_type") == "project" else None
    if rows is None or rows.WhichOneof("rel_type") != "filter":
        return False
    source, condition = rows.filter.input, rows.filter.condition
    return (
        _node_name(source) == "read rate as a stream"
        and condition.expression_string.expression == "false"
        and all(_is_null(column) for column in relation.project.expressions)
    )


def _is_null(column: Any) -> bool:
    return bool(column.alias.expr.cast.expr.literal.HasField("null"))


def _source_of(relation: Any, node: Any) -> Any:
    "The relation whose columns the expressions of a node name."
    from pyspark.sql.connect.proto import relations_pb2

    if "input" in node.DESCRIPTOR.fields_by_name:
        return node.input if node.HasField("input") else None
    if relation.WhichOneof("rel_type") == "join":
        beside = relations_pb2.Relation()
        beside.join.left.CopyFrom(node.left)
        beside.join.right.CopyFrom(node.right)
        beside.join.join_type = node.JOIN_TYPE_CROSS
        return beside
    return relation


def _differ(one: Any, other: Any) -> bool:
    "Whether types differ, wherever NULL may stand."
    return bool(one.simpleString() != other.simpleString())


def _is_message(part: Any) -> bool:
    return hasattr(part, "SerializeToString")


def _key(part: Any) -> bytes:
    return bytes(part.SerializeToString(deterministic=True))
