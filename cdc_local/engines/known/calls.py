"""Calls in an expression of Spark Connect, each with the expressions whose types it depends on."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Function -> types of a lambda's variables, of the types of the other arguments. The variables of the
# functions that are not here are of types that nobody knows.
_VARIABLES: dict[str, Callable[[list[Any]], list[list[Any]]]] = {
    "transform": lambda types: [[types[0].elementType, "int"]],
    "filter": lambda types: [[types[0].elementType, "int"]],
    "exists": lambda types: [[types[0].elementType]],
    "forall": lambda types: [[types[0].elementType]],
    "array_sort": lambda types: [[types[0].elementType] * 2],
    "aggregate": lambda types: [[types[1], types[0].elementType], [types[1]]],
    "reduce": lambda types: [[types[1], types[0].elementType], [types[1]]],
    "map_filter": lambda types: [[types[0].keyType, types[0].valueType]],
    "transform_keys": lambda types: [[types[0].keyType, types[0].valueType]],
    "transform_values": lambda types: [[types[0].keyType, types[0].valueType]],
}


@dataclass
class Lambda:
    "A lambda function: what it computes once the types of its variables are known."

    bind: Callable[[list[Any]], Any]  # Types of the variables -> the body, an expression without variables


@dataclass
class Call:
    "A call of a function, or of an operator."

    name: str  # In lower case
    arguments: list[Any]  # Expressions, types (of a cast), `*`, or lambdas
    lambdas: list[Lambda] = field(default_factory=list)


@dataclass
class Found:
    "What an expression is made of."

    calls: list[Call] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)  # Sentences


def variable_types(
    name: str,  # A function that takes lambdas
    types: list[Any],  # Of its arguments
) -> list[list[Any]] | None:  # Of the variables of each lambda; None where they can't be told
    "Tell the types of the variables of a function's lambdas."
    from pyspark.sql.types import IntegerType

    try:
        found = _VARIABLES[name]([kind for kind in types if kind != "lambda"])
    except (KeyError, IndexError, AttributeError):  # no such function, or a call with other arguments
        return None
    return [[IntegerType() if kind == "int" else kind for kind in kinds] for kinds in found]


def is_whole_literal(
    argument: Any,  # Of a call
) -> bool:
    "Whether an argument is a whole number as it is written, `2` or `2L`."
    kind = argument.WhichOneof("expr_type") if hasattr(argument, "WhichOneof") else None
    if kind == "literal":
        return argument.literal.WhichOneof("literal_type") in ("byte", "short", "integer", "long")
    text = argument.expression_string.expression if kind == "expression_string" else ""
    return re.fullmatch(r"[-+]?[0-9]+[a-z]?", text, re.I) is not None


def constant_of(
    argument: Any,  # Of a call
) -> Any:  # A text or a whole number; None for what is no such constant
    "Tell the value of an argument that is a constant."
    kind = argument.WhichOneof("expr_type") if hasattr(argument, "WhichOneof") else None
    if kind == "literal":
        value = argument.literal.WhichOneof("literal_type")
        is_plain = value in ("string", "byte", "short", "integer", "long")
        return getattr(argument.literal, value) if is_plain else None
    if kind != "expression_string":
        return None
    text = argument.expression_string.expression
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    return text[1:-1] if re.fullmatch(r"'[^'\\\\]*'", text) else None
