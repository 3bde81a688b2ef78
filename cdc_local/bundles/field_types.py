"""The types of a bundle's fields, and its values in them: `"2"` is a number where a number belongs.

The types are those of databricks-bundles, the rules those of Databricks' own command: check, a run here and
a deployment have the same values."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from importlib import import_module
from types import MappingProxyType, UnionType
from typing import Any

from cdc_local.errors import UsageError, install_hint

_RESOURCE_TYPES = MappingProxyType(
    {"jobs": "Job", "pipelines": "Pipeline", "schemas": "Schema", "volumes": "Volume"}
)  # Kind of resource -> its type, in the module of databricks-bundles that is called like the kind

SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}

_TRUE = ("true", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON")

_FALSE = ("false", "n", "N", "no", "No", "NO", "off", "Off", "OFF")


def resource_type(
    kind: str,  # jobs, pipelines, schemas, volumes …
) -> Any:  # A dataclass of databricks-bundles; None for a kind whose fields are not known
    "Find the type of a kind of resource; `UsageError` where the library is missing."
    if kind not in _RESOURCE_TYPES:
        return None
    try:
        return getattr(import_module(f"databricks.bundles.{kind}"), _RESOURCE_TYPES[kind])
    except ImportError:
        raise UsageError("reading a bundle needs databricks-bundles", hint=install_hint()) from None


def give_types(
    resources: Any,  # `resources` of a bundle, filled in; kind -> key -> settings
) -> Any:  # The same with values in the types of their fields, wherever they can be
    "Give all values of resources the types of their fields."
    if not isinstance(resources, Mapping):
        return resources
    return {kind: _type_resources(kind, declared) for kind, declared in resources.items()}


def _type_resources(
    kind: str,  # jobs, pipelines, schemas, volumes …
    declared: Any,  # Key -> settings
) -> Any:
    "Give all values of resources of one kind the types of their fields."
    if not isinstance(declared, dict):
        return declared
    expected = resource_type(kind)
    return {key: typed_value(expected, settings) for key, settings in declared.items()}


def typed_value(
    expected: Any,  # A type annotation of databricks-bundles
    value: Any,  # What the YAML says, filled in
) -> Any:  # The value itself where it cannot be of the type: `check` says so
    "Give a value the type of its field."
    expected = plain_type(expected)
    if expected in _CONVERSIONS:
        return _CONVERSIONS[expected](value)
    origin = typing.get_origin(expected)
    if origin is list and isinstance(value, list):
        return [typed_value(typing.get_args(expected)[0], item) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: typed_value(typing.get_args(expected)[1], item) for key, item in value.items()}
    if isinstance(expected, type) and dataclasses.is_dataclass(expected) and isinstance(value, dict):
        types = field_types(expected)
        return {name: typed_value(types.get(name, object), item) for name, item in value.items()}
    return value


@cache
def field_types(
    structure: Any,  # A dataclass of databricks-bundles
) -> Mapping[str, Any]:  # Name -> annotation
    "List the fields of a structure."
    return typing.get_type_hints(structure)


def plain_type(
    annotation: Any,  # A type annotation of databricks-bundles
) -> Any:  # The type of the value itself: `VariableOrOptional[int]` is an int
    "Take variables and None out of a type annotation."
    if typing.get_origin(annotation) not in (typing.Union, UnionType):
        return annotation
    from databricks.bundles.core import Variable

    choices = [
        choice
        for choice in typing.get_args(annotation)
        if choice is not type(None) and typing.get_origin(choice) is not Variable
    ]
    return plain_type(choices[0]) if len(choices) == 1 else typing.Union[tuple(choices)]  # noqa: UP007  # a tuple of types


def scalar_text(
    value: Any,  # A scalar of YAML
) -> str:
    "Write a value as the command does where a text is wanted: `true`, `1` for 1.0."
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(value)


def _to_text(
    value: Any,  # What the YAML says
) -> Any:
    "Make a text of a number, true and false."
    return scalar_text(value) if isinstance(value, (bool, int, float)) else value


def _to_flag(
    value: Any,  # What the YAML says
) -> Any:
    "Make true or false of the texts that mean it."
    if isinstance(value, str) and value in (*_TRUE, *_FALSE):
        return value in _TRUE
    return value


def _to_whole_number(
    value: Any,  # What the YAML says
) -> Any:
    "Make a whole number of digits, and of a number without a fraction."
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    return value


def _to_number(
    value: Any,  # What the YAML says
) -> Any:
    "Make a number of a text that is one."
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    try:
        return float(value)
    except ValueError:
        return value


_CONVERSIONS: Mapping[Any, Callable[[Any], Any]] = MappingProxyType(
    {str: _to_text, bool: _to_flag, int: _to_whole_number, float: _to_number}
)
