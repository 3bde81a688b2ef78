"""Schema hints: types that a pipeline knows, as `amount DECIMAL(9,2), size.w INT, tags.element STRING`.

See [schema hints](https://docs.databricks.com/aws/en/ingestion/cloud-object-storage/auto-loader/schema).
"""

import re
from typing import cast

from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from cdc_local.errors import PipelineError


def apply_hints(
    schema: StructType,  # Inferred columns
    text: str,  # Value of schemaHints; empty for none
) -> StructType:  # The columns with every hint applied
    """Let hints win over inference; a name that was not inferred is a new column. Raises `PipelineError` for
    a text that is no hint."""
    for hint in _split_hints(text):
        path, data_type = _parse_hint(hint)
        schema = _hint_columns(schema, path, data_type)
    return schema


def _split_hints(
    text: str,  # Value of schemaHints
) -> list[str]:  # Its hints
    "Split at the commas that are not inside a type or a quoted name."
    hints, depth, in_name = [""], 0, False
    for sign in text:
        if sign == "`":
            in_name = not in_name
        if not in_name:
            depth += (sign in "<(") - (sign in ">)")
        if sign == "," and depth == 0 and not in_name:
            hints.append("")
        else:
            hints[-1] += sign
    return [hint.strip() for hint in hints if hint.strip()]


def _parse_hint(
    hint: str,  # One hint, such as `size.w INT`
) -> tuple[list[str], DataType]:  # The path of names and the type
    "Read a schema hint; raises `PipelineError` with the hint if it is none."
    found = re.fullmatch(r"((?:`[^`]+`|\w+)(?:\.(?:`[^`]+`|\w+))*)(?:\s*:\s*|\s+)(.+)", hint, re.DOTALL)
    try:
        if not found:
            raise ValueError(hint)
        columns = cast(StructType, StructType.fromDDL(f"hinted {found[2]}"))
    except Exception:
        raise PipelineError(
            f"Auto Loader: schemaHints has {hint!r}", hint='write hints as in "id BIGINT, size.w INT"'
        ) from None
    names = re.findall(r"`[^`]+`|\w+", found[1])
    return [name.strip("`") for name in names], columns.fields[0].dataType


def _hint_columns(
    schema: StructType,  # Columns, or fields of a struct
    path: list[str],  # Names: the first is one of the columns, or a new one
    hinted: DataType,  # The type at the path's end
) -> StructType:  # The columns with that type, or one more
    name, rest = path[0], path[1:]
    fields = list(schema.fields)
    for number, field in enumerate(fields):
        if field.name.lower() == name.lower():
            fields[number] = StructField(field.name, _hint_type(field.dataType, rest, hinted))
            return StructType(fields)
    return StructType([*fields, StructField(name, _hint_type(StructType(), rest, hinted))])


def _hint_type(
    data_type: DataType,  # A type
    path: list[str],  # Where in it; empty for the type itself
    hinted: DataType,  # The type at the path's end
) -> DataType:  # The type with that part replaced
    if not path:
        return hinted
    name, rest = path[0], path[1:]
    if isinstance(data_type, ArrayType) and name == "element":
        return ArrayType(_hint_type(data_type.elementType, rest, hinted))
    if isinstance(data_type, MapType) and name == "key":
        return MapType(_hint_type(data_type.keyType, rest, hinted), data_type.valueType)
    if isinstance(data_type, MapType) and name == "value":
        return MapType(data_type.keyType, _hint_type(data_type.valueType, rest, hinted))
    return _hint_columns(data_type if isinstance(data_type, StructType) else StructType(), path, hinted)
