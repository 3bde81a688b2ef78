"""Statements and relations that tell of tables: `SHOW`, `DESCRIBE TABLE`, `information_schema`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from cdc_local.analysis.catalog import PipelineCatalog, join_names, matches
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName


@dataclass(frozen=True)
class Answer:
    "Rows about tables."

    schema: str  # Their columns, as DDL
    rows: list[tuple[Any, ...]]

    def to_frame(
        self,
        spark: SparkSession,  # Makes the frame
    ) -> DataFrame:
        "The rows as a frame."
        return spark.createDataFrame(self.rows, self.schema)


Statements = tuple[tuple[str, Callable[..., Answer]], ...]  # Patterns, and who answers

NAME = r"((?:`[^`]+`|[\w-]+)(?:\s*\.\s*(?:`[^`]+`|[\w-]+))*)"
_LIKE = r"(?:\s+(?:LIKE\s+)?'([^']*)')?"
_IN = rf"(?:\s+(?:IN|FROM)\s+{NAME})?"


def _show_catalogs(catalog: PipelineCatalog, pattern: str | None) -> Answer:
    return Answer("catalog string", [(name,) for name in catalog.catalogs() if matches(name, pattern)])


def _show_schemas(catalog: PipelineCatalog, within: str | None, pattern: str | None) -> Answer:
    names = catalog.schemas((within or catalog.graph.catalog).strip("`"))
    return Answer("databaseName string", [(name,) for name in names if matches(name, pattern)])


def _show_tables(catalog: PipelineCatalog, schema: str | None, pattern: str | None) -> Answer:
    names = [table.name for table in catalog.tables_of(schema) if matches(table.name.table, pattern)]
    columns = "database string, tableName string, isTemporary boolean"
    return Answer(columns, [(name.schema, name.table, False) for name in names])


def _show_views(catalog: PipelineCatalog, schema: str | None, pattern: str | None) -> Answer:
    catalog.tables_of(schema)
    return Answer("namespace string, viewName string, isTemporary boolean", [])


def _show_columns(catalog: PipelineCatalog, table: str, schema: str | None) -> Answer:
    found = catalog.find_table(join_names(table, schema))
    return Answer("col_name string", [(field.name,) for field in found.fields])


def _show_properties(catalog: PipelineCatalog, table: str) -> Answer:
    return Answer("key string, value string", sorted(catalog.find_table(table).properties.items()))


def _describe_columns(catalog: PipelineCatalog, table: str) -> Answer:
    found = catalog.find_table(table)
    fields = {field.name: field for field in found.fields}
    rows = [
        (name, field.dataType.simpleString(), field.metadata.get("comment")) for name, field in fields.items()
    ]
    if found.partitions:
        rows += [("# Partition Information", "", ""), ("# col_name", "data_type", "comment")]
        rows += [(name, fields[name].dataType.simpleString(), None) for name in found.partitions]
    return Answer("col_name string, data_type string, comment string", rows)


# What a statement looks like, and who answers it with its parts
_STATEMENTS: Statements = (
    (rf"SHOW\s+CATALOGS{_LIKE}", _show_catalogs),
    (rf"SHOW\s+(?:SCHEMAS|DATABASES){_IN}{_LIKE}", _show_schemas),
    (rf"SHOW\s+TABLES{_IN}{_LIKE}", _show_tables),
    (rf"SHOW\s+VIEWS{_IN}{_LIKE}", _show_views),
    (rf"SHOW\s+COLUMNS\s+(?:IN|FROM)\s+{NAME}{_IN}", _show_columns),
    (rf"SHOW\s+TBLPROPERTIES\s+{NAME}", _show_properties),
    (
        rf"(?:DESCRIBE|DESC)\s+(?:TABLE\s+)?(?!(?:EXTENDED|FORMATTED|DETAIL|HISTORY)\s){NAME}",
        _describe_columns,
    ),
)


def answer_statement(
    catalog: PipelineCatalog,  # Answers
    text: str,  # A statement that is no query
) -> DataFrame | None:  # Its rows; None for a statement of another kind
    "`SHOW CATALOGS`, `SHOW SCHEMAS`, `SHOW TABLES`, `SHOW COLUMNS`, `SHOW TBLPROPERTIES`, `DESCRIBE TABLE`."
    return match_statement(_STATEMENTS, catalog, text)


def match_statement(
    statements: Statements,  # What a statement looks like, and who answers it with its parts
    catalog: PipelineCatalog,  # Answers
    text: str,  # A statement that is no query
) -> DataFrame | None:  # Its rows; None for a statement of another kind
    "Have a statement answered by the first that it looks like."
    written = text.strip().rstrip(";").strip()
    for pattern, answer in statements:
        if found := re.fullmatch(pattern, written, re.I | re.S):
            return answer(catalog, *found.groups()).to_frame(catalog.spark)
    return None


# information_schema

INFORMATION_SCHEMA = "information_schema"


def _list_catalogs(catalog: PipelineCatalog, names: Sequence[str]) -> Answer:
    columns = "catalog_name string, catalog_owner string, comment string"
    return Answer(columns, [(name, _OWNER, None) for name in names])


def _list_schemata(catalog: PipelineCatalog, names: Sequence[str]) -> Answer:
    columns = "catalog_name string, schema_name string, schema_owner string, comment string"
    found = [(name, schema) for name in names for schema in (*catalog.schemas(name), INFORMATION_SCHEMA)]
    return Answer(columns, [(name, schema, _OWNER, None) for name, schema in found])


def _list_tables(catalog: PipelineCatalog, names: Sequence[str]) -> Answer:
    columns = (
        "table_catalog string, table_schema string, table_name string, table_type string, "
        "is_insertable_into string, commit_action string, table_owner string, comment string, "
        "created timestamp, created_by string, last_altered timestamp, last_altered_by string, "
        "data_source_format string, storage_path string, storage_sub_directory string"
    )
    rows = [
        (
            *(table.name.catalog, table.name.schema, table.name.table, table.kind),
            *("YES" if table.kind == "MANAGED" else "NO", "PRESERVE", _OWNER, table.comment),
            *(table.created, _OWNER, table.changed, _OWNER, "DELTA", str(table.path), None),
        )
        for table in catalog.tables
        if table.name.catalog in names
    ]
    return Answer(columns, rows)


def _list_columns(catalog: PipelineCatalog, names: Sequence[str]) -> Answer:
    columns = (
        "table_catalog string, table_schema string, table_name string, column_name string, "
        "ordinal_position int, column_default string, is_nullable string, full_data_type string, "
        "data_type string, comment string, partition_ordinal_position int"
    )
    rows: list[tuple[Any, ...]] = []
    for table in catalog.tables:
        if table.name.catalog not in names:
            continue
        positions = {name: place for place, name in enumerate(table.partitions, 1)}
        for place, field in enumerate(table.fields, 1):
            kind = field.dataType.simpleString()
            rows.append(
                (
                    *(table.name.catalog, table.name.schema, table.name.table, field.name, place, None),
                    *("YES" if field.nullable else "NO", kind, re.split(r"[(<]", kind)[0].upper()),
                    *(field.metadata.get("comment"), positions.get(field.name)),
                )
            )
    return Answer(columns, rows)


_OWNER = "local"  # Whom everything belongs to here
_RELATIONS: dict[str, Callable[[PipelineCatalog, Sequence[str]], Answer]] = {
    "catalogs": _list_catalogs,
    "schemata": _list_schemata,
    "tables": _list_tables,
    "columns": _list_columns,
}


def read_information_schema(
    catalog: PipelineCatalog,  # Answers
    name: TableName,  # A relation of a schema `information_schema`
) -> DataFrame:
    "Tell of the storage's tables; `PipelineError` for a relation that is not here."
    known = catalog.catalogs() if name.catalog == "system" else [name.catalog]
    relation = _RELATIONS.get(name.table.lower())
    if relation is None:
        raise PipelineError(
            f"{name} is not supported by the local runner", hint=f"it has {', '.join(_RELATIONS)}"
        )
    return relation(catalog, known).to_frame(catalog.spark)
