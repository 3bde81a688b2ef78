"""Files in, each exactly once, nothing lost: Auto Loader's contract on open-source Structured Streaming."""

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StringType, StructField, StructType, VariantType

from cdc_local.errors import PipelineError
from cdc_local.storage import read_json, write_json

HANDLED_OPTIONS = frozenset(
    [
        "format",
        "schemahints",
        "schemaevolutionmode",
        "infercolumntypes",
        "rescueddatacolumn",
        "readercasesensitive",
        "maxfilespertrigger",
        "maxbytespertrigger",
        "includeexistingfiles",
        "partitioncolumns",
        "modifiedafter",
        "modifiedbefore",
        "pathglobfilter",
        "filenamepattern",
        "recursivefilelookup",
        "columnnameofcorruptrecord",
        "mode",
        "multiline",
        "ignorecorruptfiles",
        "ignoremissingfiles",
        "skiprows",
    ]
)

TEXT_OPTIONS = frozenset(["encoding", "charset", "linesep", "wholetext"])

VALUE_OPTIONS = frozenset(["dateformat", "timestampformat", "timestampntzformat", "timezone", "locale"])

JSON_OPTIONS = VALUE_OPTIONS | frozenset(
    [
        "allowcomments",
        "allowunquotedfieldnames",
        "allowsinglequotes",
        "allownumericleadingzeros",
        "allowbackslashescapinganycharacter",
        "allowunquotedcontrolchars",
        "allownonnumericnumbers",
    ]
)

INFERENCE_OPTIONS = frozenset(
    [
        "primitivesasstring",
        "prefersdecimal",
        "infertimestamp",
        "dropfieldifallnull",
        "samplingratio",
        "preferdate",
    ]
)

CSV_OPTIONS = frozenset(
    [
        "header",
        "sep",
        "delimiter",
        "quote",
        "escape",
        "comment",
        "nullvalue",
        "emptyvalue",
        "nanvalue",
        "positiveinf",
        "negativeinf",
        "ignoreleadingwhitespace",
        "ignoretrailingwhitespace",
        "chartoescapequoteescaping",
        "unescapedquotehandling",
        "maxcolumns",
        "maxcharspercolumn",
        "enforceschema",
    ]
)

NATIVE_OPTIONS = frozenset(
    [
        "mergeschema",
        "datetimerebasemode",
        "int96rebasemode",
        "rowtag",
        "roottag",
        "attributeprefix",
        "valuetag",
        "excludeattribute",
        "ignorenamespace",
        "rowvalidationxsdpath",
        "ignoresurroundingspaces",
    ]
)

PARSER_OPTIONS = TEXT_OPTIONS | JSON_OPTIONS | INFERENCE_OPTIONS | CSV_OPTIONS | NATIVE_OPTIONS

CLOUD_ONLY = frozenset(
    [
        "usenotifications",
        "usemanagedfileevents",
        "useincrementallisting",
        "backfillinterval",
        "listonstart",
        "fetchparallelism",
        "region",
        "queueurl",
        "queuename",
        "restrictnotificationsetuptosameawsaccountid",
        "awsaccesskey",
        "awssecretkey",
        "rolearn",
        "roleexternalid",
        "rolesessionname",
        "stsendpoint",
        "resourcegroup",
        "subscriptionid",
        "tenantid",
        "clientid",
        "clientsecret",
        "connectionstring",
        "client",
        "clientemail",
        "privatekey",
        "privatekeyid",
        "projectid",
        "subscription",
        "databricks.servicecredential",
        "servicecredential",
        "validateoptions",
        "maxfileage",
        "schemalocation",
    ]
)

# Not emulated, but this value asks for nothing
INERT = {"allowoverwrites": "false", "inferschema": "true", "cleansource": "off", "usestrictglobber": "false"}


def split_options(
    options: dict[
        str, str
    ],  # Options of `cloudFiles` or `read_files`, with or without the `cloudFiles.` prefix, in any case
) -> tuple[
    dict[str, str], list[str]
]:  # Options acted on (lower case, no prefix), and the names, as written, of those not emulated
    """Sort options by what becomes of them; see
    [Auto Loader options](https://docs.databricks.com/aws/en/ingestion/cloud-object-storage/auto-loader/options)."""
    known, unknown = {}, []
    for name, value in options.items():
        key = name.lower().removeprefix("cloudfiles.")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if key in CLOUD_ONLY or key.startswith("resourcetag.") or text.lower() == INERT.get(key):
            continue
        if key in HANDLED_OPTIONS or key in PARSER_OPTIONS:
            known[key] = text
        else:
            unknown.append(name)
    return known, unknown


FORMATS = ("json", "csv", "text", "parquet", "orc", "xml", "binaryfile")

EVOLUTION_MODES = ("addnewcolumns", "addnewcolumnswithtypewidening", "rescue", "failonnewcolumns", "none")


def is_on(
    known: dict[str, str],  # Options from `split_options`
    name: str,  # Lower-case name of a Boolean option
    default: bool = False,  # Its value when absent
) -> bool:  # Whether it is on
    "Read a Boolean option; anything but true or false raises `PipelineError`."
    text = known.get(name, str(default)).strip().lower()
    if text not in ("true", "false"):
        raise PipelineError(f"Auto Loader option {name} is {known[name]!r}", hint="write true or false")
    return text == "true"


def check_options(
    options: dict[str, str],  # Options as the pipeline wrote them
    warn: Callable[[str], None],  # Called once for each option that is not emulated
    default_format: str = "",  # Format when no option names one
) -> dict[str, str]:  # Options acted on; `format` and `schemaevolutionmode` are valid and in lower case
    "Refuse what would change the result by name, warn of the rest; raises `PipelineError`."
    known, unknown = split_options(options)
    for name in unknown:
        if name.lower().removeprefix("cloudfiles.") == "singlevariantcolumn":
            raise PipelineError(
                f"Auto Loader option {name} is not supported locally",
                hint="read the columns and use parse_json",
            )
        warn(f"Auto Loader option {name} is not emulated locally and is ignored")
    known["format"] = known.get("format", default_format).lower()
    if known["format"] not in FORMATS:
        raise PipelineError(
            f"Auto Loader: cloudFiles.format is {known['format']!r}",
            hint=f"supported locally: {', '.join(FORMATS)}",
        )
    mode = known.get("schemaevolutionmode", "").lower()
    if mode and mode not in EVOLUTION_MODES:
        raise PipelineError(
            f"Auto Loader: cloudFiles.schemaEvolutionMode is {mode!r}",
            hint="write addNewColumns, rescue, failOnNewColumns or none",
        )
    if mode == "addnewcolumnswithtypewidening":
        warn("addNewColumnsWithTypeWidening adds columns locally, but widens no type")
    return known | {"schemaevolutionmode": mode}


def file_options(
    known: dict[str, str],  # Options from `checked_options`
    streaming: bool,  # For a stream, else for one read
) -> dict[str, str]:  # Options of Spark's own file source
    "Which files, and how many at once."
    options = {"recursiveFileLookup": "true"}
    for name in ("ignorecorruptfiles", "ignoremissingfiles", "pathglobfilter"):
        if name in known:
            options[name] = known[name]
    if "filenamepattern" in known:
        options["pathglobfilter"] = known["filenamepattern"]  # another name for the same
    if not streaming:
        return options
    options["maxFileAge"] = "36500d"
    if "maxbytespertrigger" in known and "maxfilespertrigger" not in known:  # Spark takes one of the two
        return options | {"maxBytesPerTrigger": str(byte_count(known["maxbytespertrigger"]))}
    return options | {"maxFilesPerTrigger": known.get("maxfilespertrigger", "1000")}


def byte_count(
    text: str,  # A byte string such as `10g`, `512 MB` or `1000`
) -> int:  # Bytes
    "Read a byte string; raises `PipelineError` for anything else."
    found = re.fullmatch(r"\s*(\d+)\s*([kmgt]?)b?\s*", text.lower())
    if not found:
        raise PipelineError(
            f"Auto Loader: cloudFiles.maxBytesPerTrigger is {text!r}", hint="write a size such as 10g"
        )
    return int(found[1]) * 1024 ** " kmgt".index(found[2] or " ")


def open_with_spark(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    file_format: str,  # A format that Spark knows
    options: dict[str, str],  # Options for Spark's reader
    streaming: bool,  # A stream, else one read
    schema: StructType | None = None,  # Columns, for the formats that need them
) -> DataFrame:  # Spark's frame over the files
    "Open files with Spark; a path that does not exist raises `PipelineError`."
    reader = (spark.readStream if streaming else spark.read).format(file_format).options(**options)
    if schema is not None:
        reader = reader.schema(schema)
    try:
        return reader.load(path)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        raise PipelineError(
            f"Auto Loader: no such path: {path}", hint="create the folder, or correct the path"
        ) from None


def list_files(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    known: dict[str, str],  # Options from `checked_options`
    streaming: bool,  # Whether a glob may match nothing yet
) -> list[str]:  # Paths, sorted
    "List the files there are now, as the stream will see them."
    try:
        found = open_with_spark(spark, path, "binaryFile", file_options(known, False), False).inputFiles()
    except PipelineError:
        if streaming and any(sign in path for sign in "*?[{"):
            return []
        raise
    return sorted(unquote(file) for file in found)


def file_text(
    known: dict[str, str],  # Options from `checked_options`
) -> Column:  # Text of column value, which is a file or a line as Spark's `text` source reads it
    "Decode, replace what is no UTF-8, leave out the byte order mark; Spark refuses an `encoding` that it does not know."
    encoding = known.get("encoding", known.get("charset", "UTF-8"))
    text = (
        F.make_valid_utf8("value")
        if encoding.upper() == "UTF-8"
        else F.decode(F.col("value").cast("binary"), encoding)
    )
    return F.ltrim(text, F.lit("\ufeff"))


def json_documents(
    frame: DataFrame,  # A `text` frame: column value
    known: dict[str, str],  # Options from `checked_options`
) -> DataFrame:  # Column value: one JSON document, `_metadata` still selectable
    "Drop empty lines and the byte order mark, replace what is no UTF-8; spread arrays."
    options = {name: value for name, value in known.items() if name in JSON_OPTIONS}
    records = F.transform(F.from_json("value", "array<variant>", options), lambda record: F.to_json(record))
    records = F.coalesce(records, F.from_json("value", "array<string>", options))
    is_array = F.expr(r"trim(LEADING ' \t\r\n' FROM value)").startswith("[")
    spread = F.when(is_array, F.coalesce(records, F.array("value"))).otherwise(F.array("value"))
    filled = frame.select(file_text(known).alias("value")).where(F.col("value").rlike(r"[^ \t\r\n]"))
    return filled.select(F.explode(spread).alias("value"))


@dataclass(frozen=True)
class Layout:
    "The columns of a read and what fills each."

    schema: StructType  # All columns, in order
    rescued: str = ""  # Column for what fits no other; empty for none
    corrupt: str = "_corrupt_record"  # Column for unparsable records, filled if `schema` has it
    partitions: tuple[str, ...] = ()  # Columns taken from folder names

    @property
    def data(self):
        "The fields that are parsed out of the files."
        special = {self.rescued, self.corrupt, *self.partitions}
        return [field for field in self.schema.fields if field.name not in special]


def in_backticks(
    name: str,  # A column name, whatever characters it has
) -> str:  # The name for use in `F.col`
    "Put a name in backticks."
    return "`" + name.replace("`", "``") + "`"


def partition_value(
    field: StructField,  # A column that folder names hold
) -> Column:  # Its value in the row's file path, NULL where the path has none
    "Read `name=value` out of `_metadata.file_path`."
    text = F.regexp_extract(F.col("_metadata.file_path"), f"/{re.escape(field.name)}=([^/]*)/", 1)

    def decoded(text):
        return F.coalesce(F.try_url_decode(F.replace(text, F.lit("+"), F.lit("%2B"))), text)

    name = decoded(decoded(text))  # once for the URI, once for what Hive escapes in folder names
    return F.when((text != "") & (text != "__HIVE_DEFAULT_PARTITION__"), name).try_cast(field.dataType)


def assemble_columns(
    frame: DataFrame,  # Parsed rows
    layout: Layout,  # The columns wanted
    values: dict[str, Column],  # A column of the file, by name
    rescued: Column,  # What fits no column, as JSON text
    corrupt: Column,  # The unparsable record, NULL for others
) -> DataFrame:  # The columns of the layout, in its order
    "Choose the columns of a read."

    def value(field):
        if field.name == layout.rescued:
            return rescued
        if field.name == layout.corrupt:
            return corrupt
        return partition_value(field) if field.name in layout.partitions else values[field.name]

    return frame.select(*[value(field).alias(field.name) for field in layout.schema.fields])


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
            if isinstance(field.dataType, (StructType, ArrayType)) and "'" not in field.name:
                found = found | has_undeclared_key(
                    F.get_json_object(text, f"$['{field.name}']"), field.dataType
                )
        return found
    if isinstance(data_type, ArrayType) and isinstance(data_type.elementType, (StructType, ArrayType)):
        elements = F.from_json(text, "array<string>")
        return F.coalesce(
            F.exists(elements, lambda element: has_undeclared_key(element, data_type.elementType)),
            F.lit(False),
        )
    return F.lit(False)


def is_mistyped(
    field: StructField,  # A declared column
    parsed: Column,  # Its value as parsed
    raw: Column,  # Its value as VARIANT
    options: dict[str, str],  # Options of `from_json`
) -> Column:  # True where the raw value does not fit the type
    "Compare a typed value with the raw one."
    if isinstance(field.dataType, (StringType, VariantType)):
        return F.lit(False)
    present = raw.isNotNull() & ~F.is_variant_null(raw)
    if not isinstance(field.dataType, (StructType, ArrayType, MapType)):
        return present & parsed.isNull()
    alone = StructType().add("value", field.dataType).add("bad", "string")
    document = F.concat(F.lit('{"value":'), F.to_json(raw), F.lit("}"))
    again = F.from_json(document, alone, options | {"columnNameOfCorruptRecord": "bad"})
    return present & (again["bad"].isNotNull() | has_undeclared_key(F.to_json(raw), field.dataType))


def raw_document(
    options: dict[str, str],  # Options of `from_json`
) -> Column:  # Column value as a map of VARIANT, so that numbers stay numbers; NULL if it is no JSON object
    "Parse a document without types; a nested key that occurs twice, which VARIANT refuses, leaves the values as text."
    as_text = F.from_json("value", "map<string,string>", options)
    as_text = F.transform_values(as_text, lambda _, text: text.cast("variant"))
    return F.coalesce(F.from_json("value", "map<string,variant>", options), as_text)


def rescue_column(
    names: Column,  # Array of the keys to keep
    raw: Column,  # The document as a map of VARIANT
) -> Column:  # JSON text: those keys with their raw values, then `_file_path`; NULL when there are none
    "Write what fits no column as JSON text."
    keys = F.concat(names, F.array(F.lit("_file_path")))
    values = F.concat(
        F.transform(names, lambda name: raw[name]), F.array(F.col("_metadata.file_path").cast("variant"))
    )
    return F.when(F.size(names) > 0, F.to_json(F.map_from_arrays(keys, values)))


def parse_json(
    documents: DataFrame,  # Column value: one JSON document
    layout: Layout,  # The columns wanted
    known: dict[str, str],  # Options from `checked_options`
) -> DataFrame:  # The columns of the layout, in its order
    "Parse documents with the declared types; keep what does not fit."
    options = {name: value for name, value in known.items() if name in JSON_OPTIONS}
    schema = StructType(layout.data)
    flagged = StructType([*schema.fields, StructField("__bad", StringType())])
    typed = F.from_json("value", flagged, options | {"columnNameOfCorruptRecord": "__bad"}).alias("__row")
    rows = documents.select("value", typed)
    bad, values = F.col("__row.__bad"), {field.name: F.col("__row")[field.name] for field in schema.fields}
    if not layout.rescued:
        return assemble_columns(obey_mode(rows, bad.isNotNull(), known), layout, values, F.lit(None), bad)
    undeclared = has_undeclared_key(F.col("value"), schema, no_object=True)
    rows = rows.select(
        "value", "__row", F.when(bad.isNotNull() | undeclared, raw_document(options)).alias("__raw")
    )
    raw, declared = (
        F.col("__raw"),
        F.array(*[F.lit(field.name) for field in schema.fields]).cast("array<string>"),
    )
    wrong = F.array_compact(
        F.array(
            *[
                F.when(is_mistyped(field, values[field.name], raw[field.name], options), F.lit(field.name))
                for field in schema.fields
            ]
        ).cast("array<string>")
    )
    names = F.array_distinct(F.concat(wrong, F.array_except(F.map_keys(raw), declared)))
    rows = rows.select("value", "__row", "__raw", F.when(raw.isNotNull(), names).alias("__names"))
    unparsable = bad.isNotNull() & raw.isNull()
    corrupt = F.when(unparsable, F.col("value"))
    return assemble_columns(
        obey_mode(rows, unparsable, known), layout, values, rescue_column(F.col("__names"), raw), corrupt
    )


def obey_mode(
    rows: DataFrame,  # Parsed rows with column value
    malformed: Column,  # True for a record that counts as malformed
    known: dict[str, str],  # Options from `checked_options`
) -> DataFrame:  # Rows as mode says
    "PERMISSIVE keeps malformed records, DROPMALFORMED drops them, FAILFAST stops at the first."
    mode = known.get("mode", "PERMISSIVE").upper()
    if mode == "DROPMALFORMED":
        return rows.where(~malformed)
    if mode != "FAILFAST":
        return rows
    message = F.concat(F.lit("Auto Loader, mode FAILFAST: malformed record: "), F.col("value"))
    return rows.where(F.when(malformed, F.raise_error(message).isNull()).otherwise(F.lit(True)))


def declared_spelling(
    name: Column,  # A name as the file has it
    layout: Layout,  # The columns wanted
) -> Column:  # The name as the layout spells it, unchanged if the layout has no such column in any case
    "Spell a name as it is declared."
    if not layout.data:
        return name
    spelling = F.create_map(
        *[F.lit(text) for field in layout.data for text in (field.name.lower(), field.name)]
    )
    return F.coalesce(spelling[F.lower(name)], name)


def match_case(
    documents: DataFrame,  # Column value: one JSON document
    layout: Layout,  # The columns wanted
) -> DataFrame:  # Column value, its top-level keys spelled as the layout does
    "Spell the keys of a document as they are declared."
    other_case = F.exists(F.json_object_keys("value"), lambda key: declared_spelling(key, layout) != key)
    rewritten = F.to_json(F.transform_keys(raw_document({}), lambda key, _: declared_spelling(key, layout)))
    return documents.select(F.when(other_case, rewritten).otherwise(F.col("value")).alias("value"))


SPARE_COLUMNS = 32  # Columns that a file may have beyond the schema before its lines count as corrupt


def line_arrays(
    known: dict[str, str],  # Options from `checked_options`
) -> Column:  # Array of the lines of column value, a whole file
    "Split a file into lines; skip the first `skipRows`, empty ones and comments."
    separator = re.escape(known["linesep"]) if "linesep" in known else "\r\n|\r|\n"
    lines = F.split(file_text(known), separator)
    if "skiprows" in known:
        lines = F.slice(lines, int(known["skiprows"]) + 1, F.size(lines))
    lines = F.filter(lines, lambda line: F.trim(line) != "")
    return F.filter(lines, lambda line: ~line.startswith(known["comment"])) if "comment" in known else lines


def csv_cells(
    frame: DataFrame,  # A `text` frame read with wholetext: column value
    layout: Layout,  # The columns wanted
    known: dict[str, str],  # Options from `checked_options`
) -> DataFrame:  # Columns value (the line), __names and __texts (arrays: a name and a text for each cell)
    "Give each line the column names of its own file's header; without a header, the declared ones in order."
    width = len(layout.data) + SPARE_COLUMNS
    options = {
        name: value for name, value in known.items() if name in CSV_OPTIONS - {"header", "enforceschema"}
    }
    fields = ", ".join(f"c{number} string" for number in range(width))

    def cells(struct):
        return F.array(*[F.col(struct)[f"c{number}"] for number in range(width)])

    files = frame.select(line_arrays(known).alias("__lines")).where(F.size("__lines") > 0)
    unnamed = [f"_c{number}" for number in range(width)]
    if is_on(known, "header"):
        files = files.select(
            "__lines", F.from_csv(F.get("__lines", F.lit(0)), fields, options).alias("__header")
        )
        names = F.transform(
            cells("__header"),
            lambda name, place: F.coalesce(name, F.concat(F.lit("_c"), place.cast("string"))),
        )
        if not is_on(known, "readercasesensitive", True):
            names = F.transform(names, lambda name: declared_spelling(name, layout))
        lines = F.slice("__lines", F.lit(2), F.size("__lines"))
    else:
        names = F.array(
            *[F.lit(name) for name in [field.name for field in layout.data] + unnamed[len(layout.data) :]]
        )
        lines = F.col("__lines")
    rows = files.select(names.alias("__names"), lines.alias("__lines")).select(
        "__names", F.explode("__lines").alias("value")
    )
    rows = rows.select("value", "__names", F.from_csv("value", fields, options).alias("__cells"))
    return rows.select("value", "__names", cells("__cells").alias("__texts"))


def cast_text(
    text: Column,  # Text of a cell
    field: StructField,  # The declared column
    known: dict[str, str],  # Options: dateformat and timestampformat are obeyed
) -> Column:  # The value, NULL if the text does not fit the type
    "Read a cell as its declared type."
    kind = field.dataType.typeName()
    if kind == "timestamp" and "timestampformat" in known:
        return F.try_to_timestamp(text, F.lit(known["timestampformat"]))
    if kind == "date" and "dateformat" in known:
        return F.try_to_timestamp(text, F.lit(known["dateformat"])).cast("date")
    return text if isinstance(field.dataType, StringType) else F.trim(text).try_cast(field.dataType)


def parse_csv(
    frame: DataFrame,  # A `text` frame read with wholetext: column value
    layout: Layout,  # The columns wanted
    known: dict[str, str],  # Options from `checked_options`
) -> DataFrame:  # The columns of the layout, in its order
    "Match cells to columns by name, cast them, keep what does not fit."
    rows = csv_cells(frame, layout, known)

    def text(field):
        return F.get("__texts", F.array_position("__names", F.lit(field.name)).cast("int") - 1)

    fields = {field.name: field for field in layout.data}
    rows = rows.select(
        "value",
        "__names",
        "__texts",
        F.struct(
            F.lit(0).alias("__none"), *[text(field).alias(name) for name, field in fields.items()]
        ).alias("__row"),
    )
    texts = {name: F.col("__row")[name] for name in fields}
    values = {name: cast_text(texts[name], field, known) for name, field in fields.items()}
    wrong = F.array_compact(
        F.array(*[F.when(texts[name].isNotNull() & values[name].isNull(), F.lit(name)) for name in fields])
    )
    extra = F.filter(
        "__names", lambda name, number: ~name.isin(*fields) & F.get("__texts", number).isNotNull()
    )
    rows = rows.select("*", F.concat(wrong.cast("array<string>"), extra).alias("__rescue"))
    too_wide = F.get("__texts", F.lit(len(fields) + SPARE_COLUMNS - 1)).isNotNull()
    malformed = too_wide if layout.rescued else too_wide | (F.size("__rescue") > 0)
    raw = F.map_from_arrays("__names", F.transform("__texts", lambda cell: cell.cast("variant")))
    corrupt = F.when(malformed, F.col("value"))
    return assemble_columns(
        obey_mode(rows, malformed, known), layout, values, rescue_column(F.col("__rescue"), raw), corrupt
    )


def distinct_keys(
    documents: DataFrame,  # Column value: one JSON document
) -> DataFrame:  # The same; of a key that occurs twice the last value
    "Rewrite the documents that have a key twice."
    keys, raw = F.json_object_keys("value"), F.from_json("value", "map<string,variant>")
    twice = (F.size(keys) != F.size(F.array_distinct(keys))) | (keys.isNotNull() & raw.isNull())
    rewritten = F.to_json(F.map_from_entries(F.map_entries(raw_document({}))))
    return documents.select(F.when(twice, rewritten).otherwise(F.col("value")).alias("value"))


def infer_schema(
    spark: SparkSession,  # The session
    files: list[str],  # Files to look at
    known: dict[str, str],  # Options from `checked_options`
) -> StructType:  # Their columns; of names that differ in case only, one
    "Infer the columns of some files."
    own = spark.newSession()
    own.conf.set("spark.sql.caseSensitive", "true")
    own.conf.set("spark.sql.mapKeyDedupPolicy", "LAST_WIN")
    options = {name: value for name, value in known.items() if name in PARSER_OPTIONS}
    options |= {"__globPaths__": "false", "recursiveFileLookup": "true"}  # a file's name is no glob
    if known["format"] == "json":
        texts = {name: value for name, value in options.items() if name not in JSON_OPTIONS}
        texts |= {"wholetext": known.get("multiline", "false")}
        documents = distinct_keys(json_documents(own.read.format("text").options(**texts).load(files), known))
        parser = {
            name: value for name, value in options.items() if name not in TEXT_OPTIONS
        }  # a document is text already
        found = own.read.options(**parser | {"columnNameOfCorruptRecord": "__corrupt"}).json(documents).schema
    elif known["format"] == "csv":
        found = infer_csv(own, files, known, options)
    else:
        found = (
            own.read.format(known["format"]).options(**options | {"mergeSchema": "true"}).load(files).schema
        )
    as_text = known["format"] in ("json", "csv", "xml") and not is_on(known, "infercolumntypes")
    columns = {}
    for field in found.fields:
        if field.name == "__corrupt":
            continue
        columns.setdefault(
            field.name.lower(), StructField(field.name, StringType() if as_text else field.dataType)
        )
    return StructType(list(columns.values()))


def infer_csv(
    spark: SparkSession,  # The session
    files: list[str],  # Files to look at
    known: dict[str, str],  # Options from `checked_options`
    options: dict[str, str],  # Options for Spark's reader
) -> StructType:  # Their columns; a column with two types is a string
    "Infer CSV columns, one group of files with the same header after the other."
    groups = {None: files}
    if is_on(known, "header") and not is_on(known, "multiline"):
        whole = spark.read.format("text").options(**options, wholetext="true").load(files)
        heads = whole.select(
            F.col("_metadata.file_path").alias("file"), F.get(line_arrays(known), F.lit(0)).alias("head")
        )
        groups = {}
        for row in sorted(heads.where("head is not null").collect()):
            groups.setdefault(row.head, []).append(unquote(row.file))
    columns = {}
    for group in groups.values():
        reader = spark.read.format("csv").options(
            **options | {"inferSchema": known.get("infercolumntypes", "false")}
        )
        for field in reader.option("multiLine", known.get("multiline", "false")).load(group).schema.fields:
            if columns.setdefault(field.name, field.dataType) != field.dataType:
                columns[field.name] = StringType()
    return StructType([StructField(name, data_type) for name, data_type in columns.items()])


def split_hints(
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


def parse_hint(
    hint: str,  # One hint, such as `size.w INT`
) -> tuple[list[str], DataType]:  # The path of names and the type
    "Read a schema hint; raises `PipelineError` with the hint if it is none."
    found = re.fullmatch(r"((?:`[^`]+`|\w+)(?:\.(?:`[^`]+`|\w+))*)(?:\s*:\s*|\s+)(.+)", hint, re.DOTALL)
    try:
        data_type = StructType.fromDDL(f"hinted {found[2]}").fields[0].dataType
    except Exception:
        raise PipelineError(
            f"Auto Loader: schemaHints has {hint!r}", hint='write hints as in "id BIGINT, size.w INT"'
        ) from None
    return [name.strip("`") for name in re.findall(r"`[^`]+`|\w+", found[1])], data_type


def with_hint(
    data_type: DataType,  # A type
    path: list[str],  # Where in it
    hinted: DataType,  # What is known to be there
) -> DataType:  # The type with that part replaced, or appended
    "Apply one hint."
    if not path:
        return hinted
    name, rest = path[0], path[1:]
    if isinstance(data_type, ArrayType) and name == "element":
        return ArrayType(with_hint(data_type.elementType, rest, hinted))
    if isinstance(data_type, MapType) and name in ("key", "value"):
        parts = {"key": data_type.keyType, "value": data_type.valueType}
        parts[name] = with_hint(parts[name], rest, hinted)
        return MapType(parts["key"], parts["value"])
    fields = list(data_type.fields) if isinstance(data_type, StructType) else []
    for number, field in enumerate(fields):
        if field.name.lower() == name.lower():
            fields[number] = StructField(field.name, with_hint(field.dataType, rest, hinted))
            return StructType(fields)
    return StructType([*fields, StructField(name, with_hint(StructType(), rest, hinted))])


def apply_hints(
    schema: StructType,  # Inferred columns
    text: str,  # Value of schemaHints; empty for none
) -> StructType:  # The columns with every hint applied
    """Let hints win over inference; see
    [schema hints](https://docs.databricks.com/aws/en/ingestion/cloud-object-storage/auto-loader/schema)."""
    for hint in split_hints(text):
        schema = with_hint(schema, *parse_hint(hint))
    return schema


def merge_schemas(
    old: DataType,  # Stored type
    new: DataType,  # Type found in new files
) -> DataType:  # Stored type, with what only the new one has appended
    "Add new columns, and new fields of structs, at the end; change no type."
    if isinstance(old, ArrayType) and isinstance(new, ArrayType):
        return ArrayType(merge_schemas(old.elementType, new.elementType))
    if not (isinstance(old, StructType) and isinstance(new, StructType)):
        return old
    found = {field.name.lower(): field for field in reversed(new.fields)}
    fields = []
    for field in old.fields:
        other = found.pop(field.name.lower(), field)
        fields.append(StructField(field.name, merge_schemas(field.dataType, other.dataType)))
    return StructType(fields + [field for field in new.fields if found.get(field.name.lower()) is field])


def new_columns(
    old: DataType,  # Stored type
    merged: DataType,  # The same after `merge`
    path: str = "",  # Names above it, with a dot at the end
) -> list[str]:  # Dotted names that were added
    "Name what `merge` added."
    if isinstance(old, ArrayType):
        return new_columns(old.elementType, merged.elementType, path + "element.")
    if not isinstance(old, StructType):
        return []
    added = [path + field.name for field in merged.fields[len(old.fields) :]]
    return [
        name
        for before, after in zip(old.fields, merged.fields)
        for name in new_columns(before.dataType, after.dataType, f"{path}{before.name}.")
    ] + added


@dataclass
class KnownSchemas:
    "What earlier evaluations found out."

    schema: StructType | None = None  # Inferred columns, without hints
    files: tuple[str, ...] = ()  # Files looked at
    started: float | None = None  # Seconds since 1970 of the first evaluation

    @classmethod
    def read(cls, folder: Path | None):
        "Read it from a folder; nothing is known where there is no file."
        found = folder and read_json(Path(folder) / "auto_loader.json")
        if not found:
            return cls()
        return cls(
            found["schema"] and StructType.fromJson(found["schema"]), tuple(found["files"]), found["started"]
        )

    def write(self, folder: Path | None) -> None:
        "Write it to a folder in one step; without a folder do nothing."
        if not folder:
            return
        content = {
            "schema": self.schema and self.schema.jsonValue(),
            "files": self.files,
            "started": self.started,
        }
        write_json(Path(folder) / "auto_loader.json", content)


def evolve_schema(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    known: dict[str, str],  # Options from `checked_options`
    before: KnownSchemas,  # What earlier evaluations found
    streaming: bool,  # A stream, else one read
) -> KnownSchemas:  # The same with new files looked at
    "Look at new files and grow the schema as `schemaEvolutionMode` says; raises `PipelineError`."
    mode = known["schemaevolutionmode"] or "addnewcolumns"
    if before.schema is not None and mode in ("rescue", "none"):
        return before
    files = list_files(spark, path, known, streaming)
    new = sorted(set(files) - set(before.files))
    if not new and before.schema is None:
        raise PipelineError(
            f"Auto Loader: no files in {path} to infer columns from (CF_EMPTY_DIR_FOR_SCHEMA_INFERENCE)",
            hint="add a file, or give the schema with .schema(...)",
        )
    if not new:
        return before
    found = infer_schema(spark, new, known)
    if before.schema is None:
        return KnownSchemas(found, tuple(files), before.started)
    merged = merge_schemas(before.schema, found)
    added = new_columns(before.schema, merged)
    if added and mode == "failonnewcolumns":
        raise PipelineError(
            f"Auto Loader: {path} has new columns: {', '.join(added)} (schemaEvolutionMode failOnNewColumns)",
            hint="add them to the schema or remove the files",
        )
    return KnownSchemas(merged, tuple(sorted({*before.files, *new})), before.started)


FIXED = {
    "text": "value string",
    "binaryfile": "path string, modificationTime timestamp, length bigint, content binary",
}


def plan_layout(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    known: dict[str, str],  # Options from `checked_options`
    schema: StructType | str | None,  # Declared columns, None to infer them
    folder: Path | None,  # Where to remember what was inferred; None to remember nothing
    streaming: bool,  # A stream, else one read
) -> tuple[Layout, KnownSchemas]:  # The columns, and what is known now
    "Decide which columns a read has."
    before, mode = KnownSchemas.read(folder), known["schemaevolutionmode"]
    if isinstance(schema, str):
        schema = StructType.fromDDL(schema)
    if schema is not None and mode.startswith("addnewcolumns"):
        raise PipelineError(
            "Auto Loader: schemaEvolutionMode addNewColumns does not go with a declared schema",
            hint="give the types as cloudFiles.schemaHints, or leave the mode out",
        )
    if known["format"] in FIXED:
        schema, mode = schema or StructType.fromDDL(FIXED[known["format"]]), "none"
    inferring = schema is None
    if inferring and known["format"] == "csv":
        known.setdefault("header", "true")  # without declared columns, files are assumed to have headers
    after = KnownSchemas(before.schema, before.files, before.started or time.time())
    if inferring:
        after = evolve_schema(spark, path, known, after, streaming)
    elif mode == "failonnewcolumns" and list_files(spark, path, known, streaming):
        after = evolve_schema(spark, path, known, KnownSchemas(schema, after.files, after.started), streaming)
    columns = apply_hints(after.schema, known.get("schemahints", "")) if inferring else schema
    rescued = known.get("rescueddatacolumn", "") or (
        "_rescued_data" if mode == "rescue" or inferring and mode != "none" else ""
    )
    partitions = partition_names(known, after.files if inferring else ())
    names = {field.name for field in columns.fields}
    extra = [name for name in (*partitions, rescued) if name and name not in names]
    columns = StructType(columns.fields + [StructField(name, StringType()) for name in extra])
    return Layout(
        columns, rescued, known.get("columnnameofcorruptrecord", "_corrupt_record"), partitions
    ), after


def partition_names(
    known: dict[str, str],  # Options from `checked_options`
    files: tuple[str, ...],  # Files that were looked at
) -> tuple[str, ...]:  # Columns that folder names hold
    "The columns of `cloudFiles.partitionColumns`, else the `name=value` folders of the files."
    if "partitioncolumns" in known:
        return tuple(name.strip() for name in known["partitioncolumns"].split(",") if name.strip())
    return tuple(dict.fromkeys(name for file in files for name in re.findall(r"/([^/=]+)=[^/]*(?=/)", file)))


def within_times(
    frame: DataFrame,  # Rows of files
    known: dict[str, str],  # Options from `checked_options`
    started: float,  # Seconds since 1970 of the first evaluation
) -> DataFrame:  # Rows of the files that count
    "Obey `modifiedAfter`, `modifiedBefore` and `includeExistingFiles`, which Spark's stream knows nothing of."
    modified = F.col("_metadata.file_modification_time")
    if "modifiedafter" in known:
        frame = frame.where(modified > F.lit(known["modifiedafter"]).cast("timestamp"))
    if "modifiedbefore" in known:
        frame = frame.where(modified < F.lit(known["modifiedbefore"]).cast("timestamp"))
    if is_on(known, "includeexistingfiles", True):
        return frame
    return frame.where(modified > F.timestamp_micros(F.lit(int(started * 1e6))))


def open_files(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    known: dict[str, str],  # Options from `checked_options`
    layout: Layout,  # The columns wanted
    streaming: bool,  # A stream, else one read
    started: float,  # Seconds since 1970 of the first evaluation
) -> DataFrame:  # The columns of the layout, in its order
    "Open the files in the way their format and the options call for."
    options = file_options(known, streaming)
    parser = {name: value for name, value in known.items() if name in PARSER_OPTIONS}
    texts = options | {name: value for name, value in parser.items() if name in TEXT_OPTIONS}
    if known["format"] == "json":
        whole = {"wholetext": "true"} if is_on(known, "multiline") else {}
        documents = json_documents(
            within_times(open_with_spark(spark, path, "text", texts | whole, streaming), known, started),
            known,
        )
        if not is_on(known, "readercasesensitive", True):
            documents = match_case(documents, layout)
        return parse_json(documents, layout, known)
    if known["format"] == "csv" and layout.rescued and not is_on(known, "multiline"):
        texts = {name: value for name, value in texts.items() if name != "linesep"} | {"wholetext": "true"}
        return parse_csv(
            within_times(open_with_spark(spark, path, "text", texts, streaming), known, started),
            layout,
            known,
        )
    native = parser | {
        name: known[name] for name in ("multiline", "mode", "columnnameofcorruptrecord") if name in known
    }
    corrupt = [field for field in layout.schema.fields if field.name == layout.corrupt]
    schema = StructType(layout.data + (corrupt if known["format"] in ("csv", "xml") else []))
    frame = within_times(
        open_with_spark(spark, path, known["format"], options | native, streaming, schema), known, started
    )
    values = {field.name: F.col(in_backticks(field.name)) for field in schema.fields}
    if known["format"] == "text":
        values = {name: F.make_valid_utf8(value) for name, value in values.items()}
    return assemble_columns(
        frame,
        layout,
        values,
        F.lit(None).cast("string"),
        values.get(layout.corrupt, F.lit(None).cast("string")),
    )


def read_stream(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    options: dict[str, str],  # Options of `cloudFiles`
    schema: StructType | str | None = None,  # Declared columns; None to infer them from the files
    schema_folder: Path | None = None,  # Where to remember inferred columns; None to remember nothing
    warn: Callable[[str], None] = warnings.warn,  # Called with each thing that is not emulated
) -> DataFrame:  # A streaming frame; `_metadata` can be selected from it
    "Read files as Auto Loader does, each exactly once; raises `PipelineError`."
    known = check_options(options, warn)
    layout, now = plan_layout(spark, path, known, schema, schema_folder, True)
    warn_of_format(known, layout, warn)
    frame = open_files(spark, path, known, layout, True, now.started)
    now.write(schema_folder)
    return frame


def warn_of_format(
    known: dict[str, str],  # Options from `checked_options`
    layout: Layout,  # The columns wanted
    warn: Callable[[str], None],  # Called with each thing that is not emulated
) -> None:
    "Say where a format keeps less than Auto Loader would."
    if known["format"] == "csv" and is_on(known, "multiline"):
        warn("CSV with multiLine is matched by position, and nothing of it is rescued locally")
    if layout.rescued and known["format"] not in ("json", "csv"):
        warn(f"{known['format']}: the rescued column {layout.rescued} stays NULL locally")


ENDINGS = {
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "csv": "csv",
    "tsv": "csv",
    "txt": "text",
    "parquet": "parquet",
    "orc": "orc",
    "xml": "xml",
}


def detect_format(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
) -> str:  # A format of `FORMATS`
    "Tell the format of files by their names, as `read_files` does; raises `PipelineError` if they are of none or several."
    files = list_files(spark, path, {}, False)
    endings = {
        re.sub(r"\.(gz|bz2|zst|snappy|lz4|deflate)$", "", file.lower()).rpartition(".")[2] for file in files
    }
    formats = {ENDINGS.get(ending, f".{ending}") for ending in endings}
    if len(formats) == 1 and formats <= set(FORMATS):
        return formats.pop()
    raise PipelineError(
        f"read_files: cannot tell the format of {path} from {', '.join(sorted(formats)) or 'no files'}",
        hint="name it: format => 'json'",
    )


def read_batch(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    options: dict[str, str],  # Options of `read_files`
    schema: StructType | str | None = None,  # Declared columns; None to infer them from the files
    warn: Callable[[str], None] = warnings.warn,  # Called with each thing that is not emulated
) -> DataFrame:  # The rows of all files there are now
    """Read files as [`read_files`](https://docs.databricks.com/aws/en/sql/language-manual/functions/read_files) does;
    types are inferred unless `inferColumnTypes` is off."""
    named = {name.lower().removeprefix("cloudfiles.") for name in options}
    known = check_options(
        {"inferColumnTypes": "true"} | options, warn, "" if "format" in named else detect_format(spark, path)
    )
    if "infercolumntypes" in named:
        known["infercolumntypes"] = split_options(options)[0]["infercolumntypes"]
    layout, now = plan_layout(spark, path, known, schema, None, False)
    warn_of_format(known, layout, warn)
    return open_files(spark, path, known, layout, False, now.started)
