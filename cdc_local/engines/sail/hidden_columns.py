"""`_metadata` of files, hidden as Spark hides it: `*` leaves it out, and whoever names it gets it.

A frame over files has a column `_metadata` under an alias that marks it. Before a plan goes to Sail, it is
rewritten: where nobody names the column, it goes; where somebody does, it is carried up to there.
"""

from collections.abc import Callable
from typing import Any

import grpc
from pyspark.sql import DataFrame
from pyspark.sql.connect.proto import base_pb2, expressions_pb2, relations_pb2

from cdc_local.engines.known.expressions import parts_of_message

METADATA = "_metadata"
MARK = "__hides_metadata"  # Alias of a frame whose column `_metadata` is hidden

# Nodes whose rows are those of their input, with its columns
_PASSING_NODES = frozenset(
    {
        "filter",
        "sort",
        "limit",
        "offset",
        "sample",
        "repartition",
        "repartition_by_expression",
        "subquery_alias",
        "hint",
        "with_columns",
        "with_columns_renamed",
        "with_watermark",
        "drop",
        "tail",
    }
)

# Names the columns of a relation
SchemaReader = Callable[[Any], list[str]]


def hide_metadata(
    frame: DataFrame,  # With a column `_metadata`
) -> DataFrame:  # The same rows; the column shows where it is named
    "Mark a frame whose `_metadata` is hidden."
    return frame.alias(MARK)


def rewrite_relation(
    relation: Any,  # The root of a plan
    read_columns: SchemaReader,  # Names the columns of a relation that is rewritten already
) -> Any:  # The same plan, without marks
    "Hide what is marked."
    names_it = _names_metadata(relation)
    rewritten, hidden = _Rewriter(names_it, read_columns).rewrite(relation)
    return _without_metadata(rewritten) if hidden else rewritten


class _Rewriter:
    def __init__(self, is_named: bool, read_columns: SchemaReader) -> None:
        self.is_named, self.read_columns = is_named, read_columns

    def rewrite(self, relation: Any) -> tuple[Any, bool]:
        "A relation rewritten, and whether it has a column `_metadata` that must not be seen."
        kind = relation.WhichOneof("rel_type")
        node = getattr(relation, kind)
        if kind == "subquery_alias" and node.alias == MARK:
            return (node.input, True) if self.is_named else (_without_metadata(node.input), False)
        result = relations_pb2.Relation()
        result.CopyFrom(relation)
        target = getattr(result, kind)
        if "input" not in node.DESCRIPTOR.fields_by_name or not node.HasField("input"):
            for part in _relations_in(target):
                part.CopyFrom(self._rewrite_visibly(part))
            return result, False
        rewritten, hidden = self.rewrite(node.input)
        target.input.CopyFrom(rewritten)
        if not hidden or kind in _PASSING_NODES:
            return result, hidden
        if kind == "project":
            return result, self._expand_stars(target)
        if not _names_metadata(result, into_relations=False):
            target.input.CopyFrom(_without_metadata(rewritten))
        return result, False

    def _rewrite_visibly(self, relation: Any) -> Any:
        rewritten, hidden = self.rewrite(relation)
        return _without_metadata(rewritten) if hidden else rewritten

    def _expand_stars(self, project: Any) -> bool:
        "Let the stars of a SELECT leave `_metadata` out, and carry it up for whoever names it there."
        expressions = list(project.expressions)
        del project.expressions[:]
        shows_it = False
        for expression in expressions:
            if _is_star(expression):
                names = [name for name in self.read_columns(project.input) if name != METADATA]
                project.expressions.extend(map(_attribute, names))
                continue
            shows_it = shows_it or _output_name(expression) == METADATA
            project.expressions.append(expression)
        if not shows_it:
            project.expressions.append(_attribute(METADATA))
        return not shows_it


def _is_star(expression: Any) -> bool:
    "Whether an expression stands for all columns: `*`, also where it is SQL text."
    kind = expression.WhichOneof("expr_type")
    if kind == "expression_string":
        return bool(expression.expression_string.expression.strip() == "*")
    return kind == "unresolved_star" and not expression.unresolved_star.HasField("unparsed_target")


def _output_name(expression: Any) -> str:
    "The name of a column that is selected as it is, or under an alias."
    kind = expression.WhichOneof("expr_type")
    if kind == "alias":
        return str(expression.alias.name[0]) if expression.alias.name else ""
    if kind == "unresolved_attribute":
        return str(expression.unresolved_attribute.unparsed_identifier).strip("`")
    return ""


def _attribute(name: str) -> Any:
    quoted = "`" + name.replace("`", "``") + "`"
    return expressions_pb2.Expression(
        unresolved_attribute=expressions_pb2.Expression.UnresolvedAttribute(unparsed_identifier=quoted)
    )


def _without_metadata(relation: Any) -> Any:
    return relations_pb2.Relation(drop=relations_pb2.Drop(input=relation, columns=[_attribute(METADATA)]))


def _relations_in(message: Any) -> list[Any]:
    "Relations that stand directly in a node."
    found = []
    for part in parts_of_message(message):
        if part.DESCRIPTOR.full_name == "spark.connect.Relation":
            found.append(part)
        else:
            found += _relations_in(part)
    return found


def _names_metadata(message: Any, into_relations: bool = True) -> bool:
    "Whether an expression names `_metadata`."
    for part in parts_of_message(message):
        name = part.DESCRIPTOR.full_name
        if name == "spark.connect.Relation" and not into_relations:
            continue
        if name.endswith("UnresolvedAttribute"):
            text = part.unparsed_identifier
        elif name.endswith("ExpressionString"):
            text = part.expression
        else:
            text = ""
        if METADATA in text or _names_metadata(part, into_relations):
            return True
    return False


class HiddenColumns(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
):
    "Rewrites the plans of a session's requests."

    def __init__(self) -> None:
        self.client: Any = None  # Of the session, once there is one
        # Called with the root of each plan that is computed
        self.on_query: Callable[[Any], None] = lambda relation: None

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        "Rewrite what is asked about a plan: its columns, whether it is a stream."
        return continuation(details, self._rewrite(request))

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        "Rewrite what is computed."
        if details.method.endswith("ExecutePlan") and request.plan.WhichOneof("op_type") == "root":
            self.on_query(request.plan.root)
        return continuation(details, self._rewrite(request))

    def _rewrite(self, request: Any) -> Any:
        if MARK.encode() not in request.SerializeToString():
            return request
        changed = type(request)()
        changed.CopyFrom(request)
        for relation in _relations_in(changed):
            relation.CopyFrom(rewrite_relation(relation, self._read_columns))
        return changed

    def _read_columns(self, relation: Any) -> list[str]:
        return list(self.client.schema(base_pb2.Plan(root=relation)).names)
