"""Options of Auto Loader and `read_files`: each is parsed here, once, into `Options`; the rest is refused or
named.

A new option gets a name in `_HANDLED_OPTIONS`, a field in `Options` and a line in `parse_options`. An option
that Spark's reader takes as it is written gets a name in one of the sets below, and nothing else."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cdc_local.autoloader.file_formats import CSV, JSON, FileFormat, find_format
from cdc_local.errors import PipelineError

# Acted on by Auto Loader itself
_HANDLED_OPTIONS = frozenset(
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

# How files become text
_TEXT_OPTIONS = frozenset(["encoding", "charset", "linesep", "wholetext"])

# How text becomes values
_VALUE_OPTIONS = frozenset(["dateformat", "timestampformat", "timestampntzformat", "timezone", "locale"])

_JSON_OPTIONS = _VALUE_OPTIONS | frozenset(
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

# How columns are inferred
_INFERENCE_OPTIONS = frozenset(
    [
        "primitivesasstring",
        "prefersdecimal",
        "infertimestamp",
        "dropfieldifallnull",
        "samplingratio",
        "preferdate",
    ]
)

_CSV_OPTIONS = frozenset(
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

# Of Parquet, ORC and XML
_NATIVE_OPTIONS = frozenset(
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

# For the records of formats that Spark parses; inference does without them
_RECORD_OPTIONS = frozenset(["multiline", "mode", "columnnameofcorruptrecord"])

_PARSER_OPTIONS = _TEXT_OPTIONS | _JSON_OPTIONS | _INFERENCE_OPTIONS | _CSV_OPTIONS | _NATIVE_OPTIONS

# About how files are found in a cloud, or where Auto Loader keeps its state: nothing to do here
_CLOUD_ONLY = frozenset(
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
_INERT = {
    "allowoverwrites": "false",
    "inferschema": "true",
    "cleansource": "off",
    "usestrictglobber": "false",
}


class EvolutionMode(StrEnum):
    "What new columns in later files do; values of `cloudFiles.schemaEvolutionMode` in lower case."

    ADD_NEW_COLUMNS = "addnewcolumns"
    ADD_NEW_COLUMNS_WITH_TYPE_WIDENING = "addnewcolumnswithtypewidening"
    RESCUE = "rescue"
    FAIL_ON_NEW_COLUMNS = "failonnewcolumns"
    NONE = "none"


@dataclass(frozen=True)
class Options:
    "The options of one read, parsed. What nobody named has Auto Loader's default."

    format: FileFormat

    # Columns
    schema_hints: str = ""  # Types to use instead of inferred ones, as `id BIGINT, size.w INT`
    infer_column_types: bool = False  # Columns of JSON, CSV and XML get types; else they are strings
    evolution_mode: EvolutionMode | None = None  # None if not named
    rescued_column: str = ""  # Column for what fits no other; empty if not named
    corrupt_column: str = "_corrupt_record"  # Column for unparsable records, if the schema has it
    partition_columns: tuple[str, ...] | None = None  # Columns out of folder names; None to find them
    is_case_sensitive: bool = True  # Keys and headers must be spelled as the columns

    # Files
    file_filters: Mapping[str, str] = field(default_factory=dict)  # For Spark's file source
    include_existing_files: bool = True  # Read what was there before the first evaluation
    modified_after: str | None = None  # Read files changed after this timestamp alone
    modified_before: str | None = None  # Read files changed before this timestamp alone
    max_files_per_trigger: int | None = None  # Files a batch of a stream, None if not named
    max_bytes_per_trigger: int | None = None  # Bytes a batch of a stream, None if not named, or files are

    # Text and records
    encoding: str = "UTF-8"  # Character set of JSON and CSV files
    line_separator: str | None = None  # What ends a line; None for any of the usual three
    multiline: bool = False  # JSON: a file is a document. CSV: a cell may hold line ends
    header: bool = False  # CSV: the first line of a file has its columns' names
    skip_rows: int = 0  # CSV: lines to skip at a file's beginning
    comment: str = ""  # CSV: lines that begin so are left out
    date_format: str | None = None  # Pattern of dates; None for Spark's own
    timestamp_format: str | None = None  # Pattern of timestamps; None for Spark's own
    mode: str = "PERMISSIVE"  # For unparsable records: PERMISSIVE, DROPMALFORMED or FAILFAST

    # For Spark's own reader, as written, names in lower case
    parser_options: Mapping[str, str] = field(default_factory=dict)  # How it parses and infers
    record_options: Mapping[str, str] = field(default_factory=dict)  # How it treats records, if named

    @property
    def text_options(self) -> dict[str, str]:
        "Options of Spark's `text` source."
        return _choose(self.parser_options, _TEXT_OPTIONS)

    @property
    def json_options(self) -> dict[str, str]:
        "Options of `from_json`."
        return _choose(self.parser_options, _JSON_OPTIONS)

    @property
    def csv_options(self) -> dict[str, str]:
        "Options of `from_csv`, which parses a line, so that headers are none of its business."
        return _choose(self.parser_options, _CSV_OPTIONS - {"header", "enforceschema"})


def option_key(
    name: str,  # An option's name as written
) -> str:  # In lower case, without the prefix `cloudFiles.`
    "Tell the name by which an option is known, however it is spelled."
    return name.lower().removeprefix("cloudfiles.")


def split_options(
    written: Mapping[str, str | bool],  # Options of `cloudFiles` or `read_files`, in any spelling
) -> tuple[dict[str, str], list[str]]:  # Options acted on, by key; names, as written, of those not emulated
    """Sort options by what becomes of them; see [Auto Loader
    options](https://docs.databricks.com/aws/en/ingestion/cloud-object-storage/auto-loader/options)."""
    known, unknown = {}, []
    for name, value in written.items():
        key = option_key(name)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if key in _CLOUD_ONLY or key.startswith("resourcetag.") or text.lower() == _INERT.get(key):
            continue
        if key in _HANDLED_OPTIONS or key in _PARSER_OPTIONS:
            known[key] = text
        else:
            unknown.append(name)
    return known, unknown


def parse_options(
    written: Mapping[str, str | bool],  # Options as the pipeline wrote them
    warn: Callable[[str], None],  # Called once for each option that is not emulated
    has_schema: bool = False,  # Whether the columns are declared
    default_format: str = "",  # Format when no option names one
    infers_types: bool = False,  # Value of `inferColumnTypes` when no option names one
) -> Options:
    "Refuse what would change the result by name, warn of the rest; raises `PipelineError`."
    known, unknown = split_options(written)
    _warn_of_unknown(unknown, warn)
    file_format = find_format(known.get("format", default_format))
    evolution_mode = _parse_evolution_mode(known.get("schemaevolutionmode", "").lower(), has_schema, warn)
    is_csv, is_parsed_here = file_format is CSV, file_format in (JSON, CSV)
    if is_csv and not has_schema:
        known.setdefault("header", "true")  # without declared columns, files are assumed to have headers
    return Options(
        file_format,
        schema_hints=known.get("schemahints", ""),
        infer_column_types=_parse_flag(known, "infercolumntypes", infers_types),
        evolution_mode=EvolutionMode.NONE if file_format.columns else evolution_mode,
        rescued_column=known.get("rescueddatacolumn", ""),
        corrupt_column=known.get("columnnameofcorruptrecord", "_corrupt_record"),
        partition_columns=_parse_names(known.get("partitioncolumns")),
        is_case_sensitive=_parse_flag(known, "readercasesensitive", True) if is_parsed_here else True,
        file_filters=_parse_file_filters(known),
        include_existing_files=_parse_flag(known, "includeexistingfiles", True),
        modified_after=known.get("modifiedafter"),
        modified_before=known.get("modifiedbefore"),
        max_files_per_trigger=_parse_count(known, "maxfilespertrigger"),
        max_bytes_per_trigger=_parse_max_bytes(known),
        encoding=known.get("encoding", known.get("charset", "UTF-8")),
        line_separator=known.get("linesep"),
        multiline=_parse_flag(known, "multiline", False) if is_parsed_here else False,
        header=_parse_flag(known, "header", False) if is_csv else False,
        skip_rows=(_parse_count(known, "skiprows") or 0) if is_csv else 0,
        comment=known.get("comment", ""),
        date_format=known.get("dateformat"),
        timestamp_format=known.get("timestampformat"),
        mode=known.get("mode", "PERMISSIVE").upper(),
        parser_options=_choose(known, _PARSER_OPTIONS),
        record_options=_choose(known, _RECORD_OPTIONS),
    )


def parse_byte_count(
    text: str,  # A byte string such as `10g`, `512 MB` or `1000`
) -> int:  # Bytes
    "Read a byte string; raises `PipelineError` for anything else."
    found = re.fullmatch(r"\s*(\d+)\s*([kmgt]?)b?\s*", text.lower())
    if not found:
        raise PipelineError(
            f"Auto Loader: cloudFiles.maxBytesPerTrigger is {text!r}", hint="write a size such as 10g"
        )
    factor: int = 1024 ** " kmgt".index(found[2] or " ")
    return int(found[1]) * factor


def _choose(known: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in known.items() if name in names}


def _warn_of_unknown(names: list[str], warn: Callable[[str], None]) -> None:
    for name in names:
        if option_key(name) == "singlevariantcolumn":
            raise PipelineError(
                f"Auto Loader option {name} is not supported locally",
                hint="read the columns and use parse_json",
            )
        warn(f"Auto Loader option {name} is not emulated locally and is ignored")


def _parse_evolution_mode(
    text: str,  # In lower case; empty if not named
    has_schema: bool,  # Whether the columns are declared
    warn: Callable[[str], None],  # Called with what is not emulated
) -> EvolutionMode | None:  # None if not named
    if not text:
        return None
    if text not in list(EvolutionMode):
        raise PipelineError(
            f"Auto Loader: cloudFiles.schemaEvolutionMode is {text!r}",
            hint="write addNewColumns, rescue, failOnNewColumns or none",
        )
    if text == EvolutionMode.ADD_NEW_COLUMNS_WITH_TYPE_WIDENING:
        warn("addNewColumnsWithTypeWidening adds columns locally, but widens no type")
    if has_schema and text.startswith(EvolutionMode.ADD_NEW_COLUMNS):
        raise PipelineError(
            "Auto Loader: schemaEvolutionMode addNewColumns does not go with a declared schema",
            hint="give the types as cloudFiles.schemaHints, or leave the mode out",
        )
    return EvolutionMode(text)


def _parse_flag(known: Mapping[str, str], name: str, default: bool) -> bool:
    text = known.get(name, str(default)).strip().lower()
    if text not in ("true", "false"):
        raise PipelineError(f"Auto Loader option {name} is {known[name]!r}", hint="write true or false")
    return text == "true"


def _parse_count(known: Mapping[str, str], name: str) -> int | None:
    if name not in known:
        return None
    if not known[name].strip().isdecimal():
        raise PipelineError(
            f"Auto Loader option {name} is {known[name]!r}", hint="write a number such as 100"
        )
    return int(known[name])


def _parse_max_bytes(known: Mapping[str, str]) -> int | None:
    "Spark takes one of the two limits: the number of files wins."
    if "maxfilespertrigger" in known or "maxbytespertrigger" not in known:
        return None
    return parse_byte_count(known["maxbytespertrigger"])


def _parse_names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _parse_file_filters(known: Mapping[str, str]) -> dict[str, str]:
    filters = _choose(known, frozenset(["ignorecorruptfiles", "ignoremissingfiles", "pathglobfilter"]))
    if "filenamepattern" in known:
        filters["pathglobfilter"] = known["filenamepattern"]  # another name for the same
    return filters
