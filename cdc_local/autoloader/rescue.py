"""Values that fit no column, and records that cannot be parsed: nothing of a file is lost without a word."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StringType, StructField, StructType, VariantType


def has_undeclared_key(
    text: Column,  # JSON text of a value
    data_type: DataType,  # Its declared type
    no_object: bool = False,  # The answer for a text that `json_object_keys` takes for no object
) -> Column:  # True where an object in it has a key that the type does not
    "Look for keys that nobody declared, nested ones included."
    if isinstance(data_type, StructType):
        names = F.array(*[F.lit(name) for name in data_type.names]).cast("array<string>")
        found = F.coalesce(F.size(F.array_except(F.json_object_keys(text), names)) > 0, F.lit(no_object))
        for field in data_type.fields:
            if isinstance(field.dataType, StructType | ArrayType) and "'" not in field.name:
                value = F.get_json_object(text, f"$['{field.name}']")
                found = found | has_undeclared_key(value, field.dataType)
        return found
    if isinstance(data_type, ArrayType) and isinstance(data_type.elementType, StructType | ArrayType):
        element_type = data_type.elementType
        elements = F.from_json(text, "array<string>")
        found = F.exists(elements, lambda element: has_undeclared_key(element, element_type))
        return F.coalesce(found, F.lit(False))
    return F.lit(False)


def is_mistyped(
    field: StructField,  # A declared column
    parsed: Column,  # Its value as parsed
    raw: Column,  # Its value as VARIANT
    json_options: Mapping[str, str],  # Options of `from_json`
) -> Column:  # True where the raw value does not fit the type
    """Compare a typed value with the raw one: a typed NULL over a raw value is wrong. A struct or an array
    may be wrong deep inside, so it is parsed once more, alone."""
    if isinstance(field.dataType, StringType | VariantType):
        return F.lit(False)
    present = raw.isNotNull() & ~F.is_variant_null(raw)
    if not isinstance(field.dataType, StructType | ArrayType | MapType):
        return present & parsed.isNull()
    alone = StructType().add("value", field.dataType).add("bad", "string")
    document = F.concat(F.lit('{"value":'), F.to_json(raw), F.lit("}"))
    again = F.from_json(document, alone, {**json_options, "columnNameOfCorruptRecord": "bad"})
    return present & (again["bad"].isNotNull() | has_undeclared_key(F.to_json(raw), field.dataType))


def raw_document(
    json_options: Mapping[str, str],  # Options of `from_json`
) -> Column:  # Column value as a map of VARIANT, so that numbers stay numbers; NULL if it is no JSON object
    """Parse a document without types; a nested key that occurs twice, which VARIANT refuses, leaves the
    values as text."""
    as_text = F.from_json("value", "map<string,string>", json_options)
    as_text = F.transform_values(as_text, lambda _, text: text.cast("variant"))
    return F.coalesce(F.from_json("value", "map<string,variant>", json_options), as_text)


def rescue_column(
    names: Column,  # Array of the keys to keep
    raw: Column,  # The document as a map of VARIANT
) -> Column:  # JSON text: those keys with their raw values, then `_file_path`; NULL when there are none
    "Write what fits no column as JSON text."
    keys = F.concat(names, F.array(F.lit("_file_path")))
    file_path = F.col("_metadata.file_path").cast("variant")
    values = F.concat(F.transform(names, lambda name: raw[name]), F.array(file_path))
    return F.when(F.size(names) > 0, F.to_json(F.map_from_arrays(keys, values)))


def treat_malformed(
    rows: DataFrame,  # Parsed rows with column value, the record's text
    malformed: Column,  # True for a record that counts as malformed
    mode: str,  # PERMISSIVE keeps such records, DROPMALFORMED drops them, FAILFAST stops at the first
) -> DataFrame:  # Rows as mode says
    "Obey the option `mode`; any other mode is as PERMISSIVE."
    if mode == "DROPMALFORMED":
        return rows.where(~malformed)
    if mode != "FAILFAST":
        return rows
    message = F.concat(F.lit("Auto Loader, mode FAILFAST: malformed record: "), F.col("value"))
    return rows.where(F.when(malformed, F.raise_error(message).isNull()).otherwise(F.lit(True)))
