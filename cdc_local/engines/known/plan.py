"""What of a query is not on the list of what is known to be the same on Sail and on Spark."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Parts of an expression that compute nothing of their own
_TRANSPARENT = {"literal", "unresolved_attribute", "unresolved_star", "alias", "sort_order"}


@dataclass(frozen=True)
class Known:
    """The list, as it was written."""

    calls: frozenset[str]  # `abs(int)`, `cast(int AS string)`
    nodes: frozenset[str]  # Kinds of plan nodes, `filter`, `join INNER`


@cache
def read_known() -> Known:
    "Read the list that is part of this package."
    data = json.loads(files(__package__).joinpath("functions.json").read_text(encoding="utf-8"))
    in_some_form = {call.removesuffix("(?)") for call in data["differs"] if call.endswith("(?)")}
    calls = (call for call in data["same"] if call.partition("(")[0] not in in_some_form)
    return Known(frozenset(calls), frozenset(data["nodes"]))


def find_unknown(
    frame: "DataFrame",  # Of a session of Spark Connect
    known: Known | None = None,  # The list of this package by default
) -> list[str]:  # Sentences, sorted; none where all of the query is known
    """Find what of a query is not known to give the same on Sail and on Spark.

    Types of arguments are asked of the frame's engine. What can't be read, as SQL text, is not known.
    """
    client = cast(Any, frame).sparkSession.client
    reader = _PlanReader(client, known or read_known())
    reader.read_relation(cast(Any, frame)._plan.plan(client))
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
    if kind == "deduplicate" and not node.all_columns_as_keys:
        return "deduplicate by some columns"  # which row of several stays is nobody's promise
    if kind == "aggregate":
        return f"aggregate {node.GroupType.Name(node.group_type).removeprefix('GROUP_TYPE_')}"
    return kind


def _parts(message: Any) -> Iterator[Any]:
    "The messages that stand directly in one."
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            yield from (item for item in value.values() if hasattr(item, "ListFields"))
        elif field.is_repeated:
            yield from value
        else:
            yield value


class _PlanReader:
    """Walks a plan of Spark Connect and notes what the list does not have."""

    def __init__(self, client: Any, known: Known) -> None:
        self.client, self.known = client, known
        self.unknown: set[str] = set()
        self.nodes: set[str] = set()

    def read_relation(self, relation: Any) -> None:
        "A node of the plan, with all below it."
        name = _node_name(relation)
        self.nodes.add(name)
        if name not in self.known.nodes:
            self.unknown.add(f"the plan node `{name}` is not known")
        node = getattr(relation, relation.WhichOneof("rel_type"))
        source = node.input if "input" in node.DESCRIPTOR.fields_by_name else relation
        self._read_parts(node, source)

    def _read_parts(self, message: Any, source: Any) -> None:
        for part in _parts(message):
            name = part.DESCRIPTOR.full_name
            if name == "spark.connect.Relation":
                self.read_relation(part)
            elif name == "spark.connect.Expression":
                self._read_expression(part, source)
            else:
                self._read_parts(part, source)

    def _read_expression(self, expression: Any, source: Any) -> None:
        kind = expression.WhichOneof("expr_type")
        if kind == "unresolved_function":
            self._read_call(expression.unresolved_function, source)
        elif kind == "cast":
            self._read_cast(expression.cast, source)
        elif kind == "expression_string":
            self.unknown.add(f"the SQL text `{expression.expression_string.expression}` is not read")
        elif kind not in _TRANSPARENT:
            self.unknown.add(f"expressions of the kind `{kind}` are not known")
        self._read_parts(getattr(expression, kind), source)

    def _read_call(self, call: Any, source: Any) -> None:
        name = call.function_name.lower()
        if call.is_user_defined_function or call.is_distinct:
            form = "DISTINCT" if call.is_distinct else "a function of its session"
            self.unknown.add(f"`{name}` as {form} is not known")
            return
        types = self._types_of(call.arguments, source)
        if types is None:
            self.unknown.add(f"`{name}` is not known: the types of its arguments can't be had")
        elif f"{name}({', '.join(types)})" not in self.known.calls:
            self.unknown.add(f"`{name}({', '.join(types)})` is not known")

    def _read_cast(self, change: Any, source: Any) -> None:
        types = self._types_of([change.expr], source)
        target = self._cast_target(change)
        if types is None or target is None:
            self.unknown.add("a cast is not known: its types can't be had")
        elif change.eval_mode not in (0, 2) or f"cast({types[0]} AS {target})" not in self.known.calls:
            self.unknown.add(f"`cast({types[0]} AS {target})` is not known")

    def _cast_target(self, change: Any) -> str | None:
        from pyspark.sql.connect.types import proto_schema_to_pyspark_data_type

        if change.WhichOneof("cast_to_type") == "type_str":
            return str(change.type_str).lower()
        return proto_schema_to_pyspark_data_type(change.type).simpleString()

    def _types_of(
        self,
        arguments: Any,  # Expressions
        source: Any,  # The relation whose columns they name
    ) -> list[str] | None:  # As `typeof` writes them, None where the engine can't say
        "Ask the engine for the types of expressions over a relation."
        from pyspark.errors import PySparkException
        from pyspark.sql.connect.proto import base_pb2, expressions_pb2, relations_pb2

        if not arguments:
            return []
        columns = [
            expressions_pb2.Expression(alias=expressions_pb2.Expression.Alias(expr=one, name=[f"c{at}"]))
            for at, one in enumerate(arguments)
        ]
        project = relations_pb2.Project(expressions=columns)
        if source.ByteSize():  # a query may have no source
            project.input.CopyFrom(source)
        plan = base_pb2.Plan(root=relations_pb2.Relation(project=project))
        try:
            schema = self.client.schema(plan)
        except PySparkException:
            return None
        return [field.dataType.simpleString() for field in schema]
