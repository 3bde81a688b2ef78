"""SQL types of columns: those that a feed names, and those that its values suggest."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

DATE = r"\d{4}-\d\d-\d\d"
MOMENT = DATE + r"[T ]\d\d:\d\d:\d\d(\.\d{1,9})?"
ZONE = r" ?(Z|[+-]\d\d(:?\d\d)?)"
WHOLE = r"-?(0|[1-9]\d{0,17})"  # `007` is no number: it would lose its zeros
FRACTION = r"-?\d{1,12}\.\d{1,6}"
ENOUGH = 0.95  # Share of texts that make a column one of dates or moments; a feed has faults
UNSCALED = "decimal(38,10)"  # A number of which nothing says how many digits it may have

POSTGRES_TYPES = {
    "smallint": "smallint",
    "integer": "int",
    "bigint": "bigint",
    "numeric": UNSCALED,
    "real": "float",
    "double precision": "double",
    "boolean": "boolean",
    "bytea": "binary",
    "date": "date",
    "timestamp without time zone": "timestamp_ntz",
    "timestamp with time zone": "timestamp",
}
CONNECT_TYPES = {
    "int8": "smallint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float": "float",
    "float32": "float",
    "double": "double",
    "float64": "double",
    "boolean": "boolean",
    "bytes": "binary",
}
SEMANTIC_TYPES = {
    "Date": "date",
    "IsoDate": "date",
    "Timestamp": "timestamp_ntz",
    "MicroTimestamp": "timestamp_ntz",
    "NanoTimestamp": "timestamp_ntz",
    "IsoTimestamp": "timestamp_ntz",
    "ZonedTimestamp": "timestamp",
    "VariableScaleDecimal": UNSCALED,
    "Bits": "binary",
}  # Last part of the name of a type in Debezium's schema
EXTENDED_TYPES = {
    "$oid": "string",
    "$numberInt": "int",
    "$numberLong": "bigint",
    "$numberDouble": "double",
    "$numberDecimal": UNSCALED,
    "$date": "timestamp",
}  # What MongoDB's Extended JSON wraps a value in


def postgres_type(
    name: str,  # As PostgreSQL spells it: `numeric(12,2)`
) -> str:  # As SQL does here
    "Translate a type of PostgreSQL; what has none here is its text."
    scaled = re.fullmatch(r"numeric\((\d+),(\d+)\)", name)
    if scaled:
        return f"decimal({scaled[1]},{scaled[2]})"
    return POSTGRES_TYPES.get(re.sub(r"\(\d+\)", "", name), "string")


def connect_type(
    field: dict[str, Any],  # A field of the schema that an event of Debezium carries
) -> str:
    "Translate a type of Kafka Connect, by its semantic name where it has one."
    name = str(field.get("name") or "")
    if name.endswith(".Decimal"):
        said = field.get("parameters") or {}
        return f"decimal({said.get('connect.decimal.precision', 38)},{said.get('scale', 0)})"
    if field.get("type") == "array":
        return f"array<{connect_type(field.get('items') or {})}>"
    known = SEMANTIC_TYPES.get(name.rpartition(".")[2]) if name else None
    return known or CONNECT_TYPES.get(str(field.get("type")), "string")


def suggest_type(
    values: Sequence[Any],  # Values of a column, as the sample has them; NULLs left out
    is_text: bool = False,  # Whether the format has texts alone, as CSV
    needs_zone: bool = False,  # Whether a moment without a zone is left a text
) -> str:  # One that all of the values fit
    "Find the type that values suggest; a text where several would do, or none."
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "bigint"
    if kinds and kinds <= {int, float}:
        return "double"
    if kinds == {Decimal}:
        return UNSCALED
    if kinds == {list}:
        return f"array<{suggest_type([each for value in values for each in value if each is not None])}>"
    if kinds == {dict}:
        return _wrapped_type(values)
    if kinds == {str}:
        return _text_type(values, is_text, needs_zone)
    return "string"


def _wrapped_type(
    values: Sequence[dict[str, Any]],  # Objects
) -> str:  # `string` for one that is no wrapped value: its JSON
    "Find the type of Extended JSON's wrapped values."
    names = {tuple(value) for value in values}
    only = next(iter(names)) if len(names) == 1 else ()
    return EXTENDED_TYPES.get(only[0], "string") if len(only) == 1 else "string"


def _text_type(
    values: Sequence[str],  # Texts
    is_text: bool,  # Whether numbers are texts, too
    needs_zone: bool,  # Whether a moment has to have a zone
) -> str:
    "Find the type that texts fit: for a number all of them, for a time nearly all."

    def all_match(pattern: str, share: float = 1) -> bool:
        return sum(bool(re.fullmatch(pattern, value)) for value in values) >= share * len(values)

    if all_match(DATE, ENOUGH):
        return "date"
    if all_match(MOMENT + (ZONE if needs_zone else f"({ZONE})?"), ENOUGH):
        return "timestamp"
    if is_text and all_match(WHOLE):
        return "bigint"
    if is_text and all_match(f"{FRACTION}|{WHOLE}"):
        scale = max(len(value.partition(".")[2]) for value in values)
        return f"decimal(18,{scale})"
    if is_text and all_match("true|false"):
        return "boolean"
    return "string"
