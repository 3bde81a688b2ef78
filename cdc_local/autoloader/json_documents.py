"""JSON: a line is a document, or a file is, and either may be an array of records.

Each is parsed once with the declared types. The raw document is looked at only where that parse, or a key
that nobody declared, says that something is off."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from cdc_local.autoloader.files import FileSource
from cdc_local.autoloader.layout import Layout, assemble_columns
from cdc_local.autoloader.options import Options
from cdc_local.autoloader.rescue import (
    has_undeclared_key,
    is_mistyped,
    raw_document,
    rescue_column,
    treat_malformed,
)
from cdc_local.autoloader.text import decode_text


def read_json_files(
    source: FileSource,  # The files
    layout: Layout,  # The columns wanted
) -> DataFrame:  # The columns of the layout, in its order
    "Read JSON files; what fits no column is rescued."
    options = source.options
    one_document = {"wholetext": "true"} if options.multiline else {}
    documents = split_documents(source.load("text", options.text_options | one_document), options)
    if not options.is_case_sensitive:
        documents = match_case(documents, layout)
    return parse_documents(documents, layout, options)


def infer_json_columns(
    spark: SparkSession,  # A session in which names that differ in case are two
    files: list[str],  # Paths of the files to look at
    options: Options,  # Of the read
    reader_options: dict[str, str],  # Options for Spark's reader
) -> StructType:  # The columns found
    "Infer the columns of JSON files."
    text_options = {
        name: value for name, value in reader_options.items() if name not in options.json_options
    } | {"wholetext": str(options.multiline).lower()}
    lines = spark.read.format("text").options(**text_options).load(files)
    documents = _keep_last_of_each_key(split_documents(lines, options))
    parser_options = {  # a document is text already
        name: value for name, value in reader_options.items() if name not in options.text_options
    }
    reader = spark.read.options(**parser_options, columnNameOfCorruptRecord="__corrupt")
    found = reader.json(documents).schema
    return StructType([field for field in found.fields if field.name != "__corrupt"])


def split_documents(
    lines: DataFrame,  # A `text` frame: column value, a line or a file
    options: Options,  # Of the read
) -> DataFrame:  # Column value: one JSON document, `_metadata` still selectable
    "Drop empty lines and the byte order mark, replace what is no UTF-8; spread arrays."
    json_options = options.json_options
    variants = F.from_json("value", "array<variant>", json_options)
    records = F.transform(variants, lambda record: F.to_json(record))
    records = F.coalesce(records, F.from_json("value", "array<string>", json_options))
    is_array = F.expr(r"trim(LEADING ' \t\r\n' FROM value)").startswith("[")
    spread = F.when(is_array, F.coalesce(records, F.array("value"))).otherwise(F.array("value"))
    text = lines.select(decode_text(options.encoding).alias("value"))
    return text.where(F.col("value").rlike(r"[^ \t\r\n]")).select(F.explode(spread).alias("value"))


def match_case(
    documents: DataFrame,  # Column value: one JSON document
    layout: Layout,  # The columns wanted
) -> DataFrame:  # Column value, its top-level keys spelled as the layout does
    "Spell the keys of a document as they are declared."
    other_case = F.exists(F.json_object_keys("value"), lambda key: layout.spell(key) != key)
    rewritten = F.to_json(F.transform_keys(raw_document({}), lambda key, _: layout.spell(key)))
    return documents.select(F.when(other_case, rewritten).otherwise(F.col("value")).alias("value"))


def parse_documents(
    documents: DataFrame,  # Column value: one JSON document
    layout: Layout,  # The columns wanted
    options: Options,  # Of the read
) -> DataFrame:  # The columns of the layout, in its order
    "Parse documents with the declared types; keep what does not fit."
    json_options = options.json_options
    schema = StructType(layout.data)
    flagged = StructType([*schema.fields, StructField("__bad", StringType())])
    typed = F.from_json("value", flagged, {**json_options, "columnNameOfCorruptRecord": "__bad"})
    rows = documents.select("value", typed.alias("__row"))
    bad = F.col("__row.__bad")
    values = {field.name: F.col("__row")[field.name] for field in schema.fields}
    if not layout.rescued:
        kept = treat_malformed(rows, bad.isNotNull(), options.mode)
        return assemble_columns(kept, layout, values, F.lit(None), bad)
    undeclared = has_undeclared_key(F.col("value"), schema, no_object=True)
    document = F.when(bad.isNotNull() | undeclared, raw_document(json_options))
    rows = rows.select("value", "__row", document.alias("__raw"))
    raw = F.col("__raw")
    names = _keys_to_rescue(schema, values, raw, json_options)
    rows = rows.select("value", "__row", "__raw", F.when(raw.isNotNull(), names).alias("__names"))
    unparsable = bad.isNotNull() & raw.isNull()
    return assemble_columns(
        treat_malformed(rows, unparsable, options.mode),
        layout,
        values,
        rescue_column(F.col("__names"), raw),
        F.when(unparsable, F.col("value")),
    )


def _keys_to_rescue(
    schema: StructType,  # Declared columns of the data
    values: dict[str, Column],  # Each as parsed, by name
    raw: Column,  # The document as a map of VARIANT
    json_options: dict[str, str],  # Options of `from_json`
) -> Column:  # Array of keys: those with a wrong value, then those that nobody declared
    mistyped = [
        F.when(is_mistyped(field, values[field.name], raw[field.name], json_options), F.lit(field.name))
        for field in schema.fields
    ]
    wrong = F.array_compact(F.array(*mistyped).cast("array<string>"))
    declared = F.array(*[F.lit(field.name) for field in schema.fields]).cast("array<string>")
    return F.array_distinct(F.concat(wrong, F.array_except(F.map_keys(raw), declared)))


def _keep_last_of_each_key(
    documents: DataFrame,  # Column value: one JSON document
) -> DataFrame:  # The same; of a key that occurs twice the last value
    keys, raw = F.json_object_keys("value"), F.from_json("value", "map<string,variant>")
    twice = (F.size(keys) != F.size(F.array_distinct(keys))) | (keys.isNotNull() & raw.isNull())
    rewritten = F.to_json(F.map_from_entries(F.map_entries(raw_document({}))))
    return documents.select(F.when(twice, rewritten).otherwise(F.col("value")).alias("value"))
