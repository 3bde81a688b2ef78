"""Which queries give for the new rows of a stream the same, whichever rows came before."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from cdc_local.engines.known.expressions import parts_of_message

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Nodes that make rows of each row by itself
_STATELESS = frozenset(
    {
        "collect_metrics",
        "drop",
        "drop_na",
        "fill_na",
        "filter",
        "hint",
        "map_partitions",
        "project",
        "repartition",
        "repartition_by_expression",
        "replace",
        "subquery_alias",
        "to_df",
        "to_schema",
        "unpivot",
        "with_columns",
        "with_columns_renamed",
        "with_watermark",
    }
)

# What the others do of a stream
_DOES = {
    "aggregate": "aggregates a stream, which keeps state",
    "apply_in_pandas_with_state": "keeps state of a stream",
    "co_group_map": "groups a stream, which keeps state",
    "deduplicate": "removes duplicates from a stream, which keeps state",
    "group_map": "groups a stream, which keeps state",
    "limit": "takes the first rows of a stream",
    "offset": "skips the first rows of a stream",
    "sample": "takes a sample of a stream",
    "sort": "sorts a stream",
    "tail": "takes the last rows of a stream",
}

# Joins of a stream with a table: which side may be the stream
_STREAMING_SIDES = {
    "INNER": ("left", "right"),
    "CROSS": ("left", "right"),
    "LEFT_OUTER": ("left",),
    "LEFT_SEMI": ("left",),
    "LEFT_ANTI": ("left",),
    "RIGHT_OUTER": ("right",),
}


def describe_state(
    frame: "DataFrame",  # A stream of a session of Spark Connect
) -> str | None:  # `it sorts a stream`; None where each new row becomes rows by itself
    "Say what of a query keeps state of a stream, or is refused of a stream; also where it is not certain."
    client = cast(Any, frame).sparkSession.client
    reader = _StateReader(client)
    reader.is_stream(cast(Any, frame)._plan.plan(client))
    return f"it {reader.does[0]}" if reader.does else None


@cache
def aggregates() -> frozenset[str]:
    "Functions that make one value of many rows."
    data = json.loads(files(__package__).joinpath("functions.json").read_text(encoding="utf-8"))
    return frozenset(data["aggregates"])


class _StateReader:
    "Walks a plan and notes what it does of streams."

    def __init__(self, client: Any) -> None:
        self.client = client
        self.does: list[str] = []

    def is_stream(
        self,
        relation: Any,  # A node of a plan
    ) -> bool:
        "Whether a node's rows are a stream; what it does of one is noted."
        kind = str(relation.WhichOneof("rel_type"))
        node = getattr(relation, kind)
        if kind == "read":
            return self._read(relation, node)
        if kind in ("join", "set_op"):
            return self._combine(kind, node)
        if kind == "with_relations":
            return self._refer(node)
        inputs = [self.is_stream(part) for part in _relations(node)]
        if not any(inputs):
            return kind == "sql" and self._asks(relation, "is SQL text over a stream")
        if kind not in _STATELESS or len(inputs) > 1:
            self.does.append(_DOES.get(kind, f"does `{kind}` of a stream"))
        self._read_expressions(node)
        return True

    def _read(self, relation: Any, node: Any) -> bool:
        if node.is_streaming:
            return True
        return node.HasField("named_table") and self._asks(relation, "reads a stream by the name of a view")

    def _asks(self, relation: Any, does: str) -> bool:
        "Whether the engine says that a node is a stream, whose query is not part of the plan."
        from pyspark.sql.connect.proto import base_pb2

        plan = base_pb2.Plan(root=relation)
        if not self.client._analyze(method="is_streaming", plan=plan).is_streaming:
            return False
        self.does.append(does)
        return True

    def _combine(self, kind: str, node: Any) -> bool:
        sides = [self.is_stream(node.left_input if kind == "set_op" else node.left)]
        sides.append(self.is_stream(node.right_input if kind == "set_op" else node.right))
        if not any(sides):
            return False
        if kind == "set_op":
            if node.SetOpType.Name(node.set_op_type) != "SET_OP_TYPE_UNION" or not node.is_all:
                self.does.append("compares rows of streams, which keeps state")
            elif not all(sides):
                self.does.append("unites a stream with a table")
        elif all(sides):
            self.does.append("joins two streams, which keeps state")
        else:
            how = node.JoinType.Name(node.join_type).removeprefix("JOIN_TYPE_")
            if ("left" if sides[0] else "right") not in _STREAMING_SIDES.get(how, ()):
                self.does.append(f"joins a table with a stream on the wrong side of {how}")
        self._read_expressions(node)
        return True

    def _refer(self, node: Any) -> bool:
        "A query with subqueries, which may be no streams."
        if any([self.is_stream(part) for part in node.references]):
            self.does.append("has a subquery over a stream")
        return self.is_stream(node.root)

    def _read_expressions(self, node: Any) -> None:
        for expression in _expressions(node):
            kind = expression.WhichOneof("expr_type")
            if kind == "window":
                self.does.append("has a window function over a stream")
            elif kind in ("unresolved_function", "call_function"):
                name = getattr(expression, kind).function_name.lower()
                if name in aggregates():
                    self.does.append(f"computes `{name}` of a stream, which keeps state")
            elif kind == "expression_string":
                self._read_text(expression.expression_string.expression)
            elif kind == "typed_aggregate_expression":
                self.does.append("aggregates a stream, which keeps state")

    def _read_text(self, sql: str) -> None:
        from cdc_local.engines.known.sql_text import find_functions

        found = find_functions(sql)
        if found is None:
            self.does.append(f"has the SQL text `{sql}`, which is not read")
        elif "over" in found:
            self.does.append("has a window function over a stream")
        else:
            names = sorted(found & aggregates())
            self.does += [f"computes `{name}` of a stream, which keeps state" for name in names]


def _relations(message: Any) -> Iterator[Any]:
    "The relations below a node, those in its expressions left out."
    for part in parts_of_message(message):
        if part.DESCRIPTOR.full_name == "spark.connect.Relation":
            yield part
        else:
            yield from _relations(part)


def _expressions(message: Any) -> Iterator[Any]:
    "The expressions of a node with all inside them, those of other nodes left out."
    for part in parts_of_message(message):
        name = part.DESCRIPTOR.full_name
        if name == "spark.connect.Expression":
            yield part
        if name != "spark.connect.Relation":
            yield from _expressions(part)
