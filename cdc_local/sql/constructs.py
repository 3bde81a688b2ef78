"""What Databricks' SQL has and open-source Spark 4.2 does not: a row each, and what becomes of it.

Looked up in Databricks' SQL reference on the day of `CHECKED`, and compared with the functions and the
grammar of Spark. `dialect.py` and the tests read these rows, and *What runs where* is written from them."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

CHECKED = "2026-11-29"
_REFERENCE = "https://docs.databricks.com/aws/en/sql/language-manual/"


@dataclass(frozen=True)
class Construct:
    "One row."

    name: str  # As documented; `h3_*` for every function that begins so
    page: str  # Below `_REFERENCE`
    example: str  # An expression
    becomes: str = ""  # A translated one: the function of Spark, or what is written
    reason: str = ""  # A refused one: why it is not computed here, after its name
    instead: str = ""  # A refused one: what to write

    @property
    def is_function(self) -> bool:
        "Whether it is a function, and no operator."
        return self.name.replace("*", "").isidentifier()

    @property
    def address(self) -> str:
        "Where Databricks documents it."
        return _REFERENCE + self.page


_MODEL = "asks a model that Databricks serves"
_OWN_MODEL = "call the model in a Python function, which can answer from a file here"
_ACCOUNT = "depends on the account or the workspace"
_PARAMETER = "pass the value in the pipeline's configuration, as ${name}"
_SECRET = "reads a secret scope of the workspace"
_DBUTILS = "read it in Python with dbutils.secrets.get, and pass it on"
_SHAPES = "is of the geospatial functions that Spark does not have"
# Of `st_*`, what Spark 4.2 computes itself
_OF_SPARK = frozenset({"st_asbinary", "st_geogfromwkb", "st_geomfromwkb", "st_setsrid", "st_srid"})
_METRICS = "reads a metric view, which Unity Catalog keeps"
_ZSTD = "has no counterpart in Spark"


def _translated(name: str, page: str, example: str, becomes: str) -> Construct:
    return Construct(name, page, example, becomes=becomes)


def _refused(name: str, example: str, reason: str, instead: str, page: str = "") -> Construct:
    page = page or f"functions/{name}" if "*" not in name else page
    return Construct(name, page or "sql-ref-functions-builtin-alpha", example, reason=reason, instead=instead)


CONSTRUCTS: tuple[Construct, ...] = (
    _translated(
        "raw:path",
        "functions/colonsign",
        "raw:address.city",
        "functions that follow the path through a JSON string; over a VARIANT it stays as it is",
    ),
    _translated("?::", "functions/questiondoublecolonsign", "raw?::int", "try_cast"),
    _translated("iff", "functions/iff", "iff(n > 1, 'many', 'few')", "if"),
    _translated("getdate", "functions/getdate", "getdate()", "current_timestamp"),
    _translated("charindex", "functions/charindex", "charindex('a', raw)", "locate"),
    _refused("ai_*", "ai_query('model', raw)", _MODEL, _OWN_MODEL, "functions/ai_query"),
    _refused("vector_search", "vector_search('i', raw)", "asks an index that Databricks serves", _OWN_MODEL),
    _refused(
        "h3_*",
        "h3_longlatash3(x, y, 9)",
        "computes with H3 cells, which Spark does not have",
        "call the package h3 in a Python function",
        "sql-ref-h3-geospatial-functions",
    ),
    _refused(
        "st_*",
        "st_area(raw)",
        _SHAPES,
        "call the package shapely in a Python function",
        "sql-ref-st-geospatial-functions",
    ),
    _refused("to_geography", "to_geography(raw)", _SHAPES, "keep the text, or its WKB as BINARY"),
    _refused("to_geometry", "to_geometry(raw)", _SHAPES, "keep the text, or its WKB as BINARY"),
    _refused("try_to_geography", "try_to_geography(raw)", _SHAPES, "keep the text, or its WKB as BINARY"),
    _refused("try_to_geometry", "try_to_geometry(raw)", _SHAPES, "keep the text, or its WKB as BINARY"),
    _refused(
        "http_request",
        "http_request(conn => 'c', method => 'GET', path => '/')",
        "sends a request through a connection of Unity Catalog",
        "land the answers as files, and read them with read_files",
    ),
    _refused("secret", "secret('scope', 'key')", _SECRET, _DBUTILS),
    _refused("try_secret", "try_secret('scope', 'key')", _SECRET, _DBUTILS),
    _refused("is_member", "is_member('admins')", _ACCOUNT, _PARAMETER),
    _refused("is_account_group_member", "is_account_group_member('admins')", _ACCOUNT, _PARAMETER),
    _refused("current_metastore", "current_metastore()", _ACCOUNT, _PARAMETER),
    _refused("current_recipient", "current_recipient('country')", _ACCOUNT, _PARAMETER),
    _refused("current_version", "current_version()", _ACCOUNT, _PARAMETER),
    _refused(
        "table@v1",
        "(SELECT max(id) FROM t@v1)",
        "names a version of a table, which is not read so here",
        "read it in Python: spark.read.option('versionAsOf', 1).table('t')",
        "sql-ref-names",
    ),
    _refused("measure", "measure(n)", _METRICS, "write the aggregate itself"),
    _refused("agg", "agg(n)", _METRICS, "write the aggregate itself"),
    _refused(
        "schema_of_json_agg",
        "schema_of_json_agg(raw)",
        "has no counterpart in Spark",
        "name the schema, or take schema_of_json of one document",
    ),
    _refused("bit_reverse", "bit_reverse(n)", "has no counterpart in Spark", "write it as a Python function"),
    _refused(
        "counter_diff",
        "counter_diff(n) OVER (ORDER BY at)",
        "has no counterpart in Spark",
        "write the difference to lag(n), and NULL where it is negative",
    ),
    _refused(
        "remote_query",
        "remote_query('c', query => 'SELECT 1')",
        "reads through a connection of Unity Catalog",
        "land the rows as files, and read them with read_files",
    ),
    _refused("list_secrets", "list_secrets('scope')", _SECRET, _DBUTILS),
    _refused("zstd_compress", "zstd_compress(raw)", _ZSTD, "store the value as it is: Parquet compresses it"),
    _refused("zstd_decompress", "zstd_decompress(x)", _ZSTD, "decompress it in a Python function"),
    _refused("try_zstd_decompress", "try_zstd_decompress(x)", _ZSTD, "decompress it in a Python function"),
)


def find_construct(
    name: str,  # As in the list
) -> Construct:
    "Find a row by its name."
    return next(construct for construct in CONSTRUCTS if construct.name == name)


def find_function(
    name: str,  # Of a function that is called, in lower case
) -> Construct | None:  # None for one that Spark has, or nobody
    "Find the row of a function."
    if name in _OF_SPARK:
        return None
    for construct in CONSTRUCTS:
        if construct.is_function and fnmatchcase(name, construct.name):
            return construct
    return None
