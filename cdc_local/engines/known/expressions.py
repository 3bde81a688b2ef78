"""Calls in an expression of Spark Connect's protocol."""

from collections.abc import Callable, Iterator
from typing import Any

from cdc_local.engines.known.calls import Call, Found, Lambda
from cdc_local.engines.known.sql_text import read_text

# Kinds of constants that have one type on both engines: a decimal's is another one on each
_CONSTANTS = {
    "array",
    "binary",
    "boolean",
    "byte",
    "date",
    "double",
    "float",
    "integer",
    "long",
    "null",
    "short",
    "specialized_array",
    "string",
    "timestamp",
    "timestamp_ntz",
}


def parts_of_message(
    message: Any,  # Of the protocol
) -> Iterator[Any]:  # The messages that stand directly in it
    "List the parts of a message."
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            yield from (item for item in value.values() if hasattr(item, "ListFields"))
        elif field.is_repeated:
            yield from value
        else:
            yield value


def read_expression(
    expression: Any,  # Of Spark Connect
) -> Found:
    "Find the calls of an expression; a kind that is not understood is not guessed."
    reader = _ExpressionReader()
    reader.read(expression)
    return reader.found


def _null() -> Any:
    "A cast of NULL, whose type is to be set."
    from pyspark.sql.connect.proto import expressions_pb2

    expression = expressions_pb2.Expression()
    expression.cast.expr.literal.null.null.SetInParent()
    return expression


class _ExpressionReader:
    "Walks an expression."

    def __init__(self) -> None:
        self.found = Found()

    def read(
        self,
        expression: Any,  # Of Spark Connect
    ) -> None:
        "Note the calls of an expression and of all inside it."
        kind = expression.WhichOneof("expr_type")
        reader: Callable[[Any], None] | None = getattr(self, f"_read_{kind}", None)
        if reader is None:
            self.found.unknown.add(f"expressions of the kind `{kind}` are not known")
        else:
            reader(getattr(expression, kind))

    def _call(self, name: str, *arguments: Any) -> Call:
        "Note a call, and what is in its arguments."
        call = Call(name, [])
        self.found.calls.append(call)
        for one in arguments:
            self._read_argument(call, one)
        return call

    def _read_argument(self, call: Call, argument: Any) -> None:
        kind = argument.WhichOneof("expr_type")
        if kind == "unresolved_star":
            call.arguments.append("*")
        elif kind == "lambda_function":
            call.arguments.append("lambda")
            call.lambdas.append(_lambda(argument.lambda_function))
        else:
            call.arguments.append(argument)
            self.read(argument)

    def _read_nothing(self, part: Any) -> None:
        "It computes nothing of its own."

    _read_unresolved_star = _read_unresolved_regex = _read_nothing

    def _read_literal(self, literal: Any) -> None:
        kind = literal.WhichOneof("literal_type")
        if kind not in _CONSTANTS:
            self.found.unknown.add(f"constants of the kind `{kind}` are not known")

    def _read_unresolved_attribute(self, attribute: Any) -> None:
        if attribute.is_metadata_column:
            self.found.unknown.add(f"the hidden column `{attribute.unparsed_identifier}` is not known")

    def _read_alias(self, alias: Any) -> None:
        self.read(alias.expr)

    def _read_sort_order(self, order: Any) -> None:
        self._call(f"sort by{_nulls(order)}", order.child)

    def _read_expression_string(self, text: Any) -> None:
        found = read_text(text.expression)
        self.found.calls += found.calls
        self.found.unknown |= found.unknown

    def _read_unresolved_function(self, function: Any) -> None:
        name, arguments = function.function_name.lower(), list(function.arguments)
        if function.is_user_defined_function:
            self.found.unknown.add(f"`{name}` as a function of its session is not known")
        elif name == "when":
            for condition in arguments[: len(arguments) // 2 * 2 : 2]:
                self._call("condition", condition)
            values = arguments[1::2] + (arguments[-1:] if len(arguments) % 2 else [])
            self._call("when", *values)
        elif name == "raise_error":  # what it says may differ, that it raises does not
            self.found.calls.append(Call(name, arguments))
        else:
            self._call(f"{name} DISTINCT" if function.is_distinct else name, *arguments)

    def _read_call_function(self, function: Any) -> None:
        self._call(function.function_name.lower(), *function.arguments)

    def _read_cast(self, change: Any) -> None:
        from pyspark.sql.connect.types import proto_schema_to_pyspark_data_type

        if change.WhichOneof("cast_to_type") == "type_str":
            target = _null()
            target.cast.type_str = change.type_str
        else:
            target = proto_schema_to_pyspark_data_type(change.type)
        tried = change.eval_mode == change.EvalMode.Value("EVAL_MODE_TRY")
        call = Call("try_cast" if tried else "cast", [change.expr, target])
        self.found.calls.append(call)
        self.read(change.expr)
        if change.eval_mode == change.EvalMode.Value("EVAL_MODE_LEGACY"):
            self.found.unknown.add("a cast as Spark 3 made it is not known")

    def _read_unresolved_extract_value(self, access: Any) -> None:
        self._call("[]", access.child, access.extraction)

    def _read_update_fields(self, change: Any) -> None:
        if change.HasField("value_expression"):
            self._call("with field", change.struct_expression, change.value_expression)
        else:
            self._call("drop field", change.struct_expression)

    def _read_window(self, window: Any) -> None:
        kind = window.window_function.WhichOneof("expr_type")
        if kind not in ("unresolved_function", "call_function"):
            self.found.unknown.add(f"a window over the kind `{kind}` is not known")
            return
        function = getattr(window.window_function, kind)
        form = "over"
        if window.HasField("frame_spec"):
            frame = window.frame_spec
            form = f"over {'rows' if frame.frame_type == frame.FRAME_TYPE_ROW else 'range'}"
            for bound in (frame.lower, frame.upper):
                if bound.HasField("value"):
                    self.read(bound.value)
        name, arguments = function.function_name.lower(), list(function.arguments)
        if getattr(function, "is_distinct", False) or getattr(function, "is_user_defined_function", False):
            self.found.unknown.add(f"`{name}` over a window, as DISTINCT or of a session, is not known")
        for one in window.partition_spec:
            self._call("partition by", one)
        for one in window.order_spec:
            by = "order rows by" if form == "over rows" else "order by"
            self._call(f"{by}{_nulls(one)}", one.child)
        self._call(f"{name} {form}", *arguments)

    def _read_common_inline_user_defined_function(self, function: Any) -> None:
        from pyspark.sql.connect.types import proto_schema_to_pyspark_data_type

        if function.WhichOneof("function") != "python_udf" or not function.deterministic:
            self.found.unknown.add(f"the function `{function.function_name}` is not known")
            return
        python = function.python_udf
        call = self._call(f"python {python.eval_type}", *function.arguments)
        call.arguments.append(proto_schema_to_pyspark_data_type(python.output_type))


def _nulls(order: Any) -> str:
    "Where NULL stands: by default before all values, and after them where they descend."
    descends = order.direction == order.SORT_DIRECTION_DESCENDING
    last = order.null_ordering == order.SORT_NULLS_LAST
    return "" if last == descends else " nulls moved"


def _lambda(function: Any) -> Lambda:
    "A lambda whose variables are replaced by NULL of their types."
    names = ["\0".join(variable.name_parts) for variable in function.arguments]

    def bind(types: list[Any]) -> Any:
        if len(names) > len(types):
            return None
        body = type(function.function)()
        body.CopyFrom(function.function)
        _replace(body, {name: _null_of(kind) for name, kind in zip(names, types, strict=False)})
        return body

    return Lambda(bind)


def _null_of(kind: Any) -> Any:
    "NULL as a value of a type."
    from pyspark.sql.connect.proto import expressions_pb2
    from pyspark.sql.connect.types import pyspark_types_to_proto_types

    expression = expressions_pb2.Expression()
    expression.literal.null.CopyFrom(pyspark_types_to_proto_types(kind))
    return expression


def _replace(message: Any, values: dict[str, Any]) -> None:
    "Put expressions in the places of variables."
    if message.DESCRIPTOR.full_name == "spark.connect.Expression" and (
        message.WhichOneof("expr_type") == "unresolved_named_lambda_variable"
    ):
        name = "\0".join(message.unresolved_named_lambda_variable.name_parts)
        if name in values:
            message.CopyFrom(values[name])
        return
    for part in parts_of_message(message):
        _replace(part, values)
