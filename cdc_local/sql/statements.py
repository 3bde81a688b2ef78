"""Lakeflow's SQL, read into the same graph that the Python decorators fill."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession

from cdc_local.dataflow.graph import Dataset, DatasetKind, Flow, Graph, Replacement
from cdc_local.errors import Location, PipelineError
from cdc_local.sql.auto_cdc_clauses import read_auto_cdc, read_once
from cdc_local.sql.columns import Specification, declared_schema, note_tags, read_specification
from cdc_local.sql.dialect import translate_words
from cdc_local.sql.parameters import bind_parameters, expand_identifiers
from cdc_local.sql.parser import (
    Statement,
    fill_parameters,
    read_columns,
    read_expression,
    read_name_parts,
    read_properties,
    read_string,
    skip_bracket,
    spanned_text,
    split_statements,
)
from cdc_local.sql.scope import Reading, Scope, read_query
from cdc_local.sql_names import quote_for_spark
from cdc_local.storage import TableName


@dataclass
class Clauses:
    "What a CREATE says beside its name and query."

    specification: Specification = field(default_factory=Specification)
    comment: str | None = None
    partition_cols: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    table_properties: dict[str, str] = field(default_factory=dict)
    is_managed: bool = False  # CREATE TABLE without STREAMING


_HOW_TO_GIVE = "set it in the pipeline's parameters, or by --param {}=value"

_REFUSED_CLAUSES = {
    "SCHEDULE": "a pipeline is started by a job",
    "TRIGGER ON": "a pipeline is started by a job",
}


def read_clause(
    statement: Statement,  # Stands after the name
    clauses: Clauses,  # Takes the clause
) -> bool:  # False where no clause comes next
    "Read one clause of a CREATE."
    specification = clauses.specification
    for phrase, hint in _REFUSED_CLAUSES.items():
        if statement.sees(phrase):
            statement.fail(f"{phrase} is not supported", hint)
    if statement.sees("("):
        read_specification(statement, specification)
    elif statement.takes("COMMENT"):
        clauses.comment = read_string(statement)
    elif statement.takes("TBLPROPERTIES"):
        clauses.table_properties |= read_properties(statement)
    elif statement.takes("PARTITIONED BY"):
        clauses.partition_cols = read_columns(statement)
    elif statement.takes("CLUSTER BY AUTO"):
        specification.ignored.append("CLUSTER BY AUTO")
    elif statement.takes("CLUSTER BY NONE"):
        pass
    elif statement.takes("CLUSTER BY"):
        clauses.cluster_by = read_columns(statement)
    elif statement.sees("WITH ROW FILTER", "ROW FILTER"):
        _note_row_filter(statement, specification)
    elif statement.sees("TAGS", "WITH TAGS"):
        note_tags(statement, specification)
    elif statement.takes("DEFAULT COLLATION"):
        if not statement.takes("UTF8_BINARY"):
            statement.fail(
                f"DEFAULT COLLATION {statement.here.text} is not supported",
                "give columns their collation in the query",
            )
    elif statement.takes("USING"):
        if not statement.takes("DELTA"):
            statement.fail(f"USING {statement.here.text} is not supported", "tables are Delta")
    elif statement.takes("LOCATION"):
        specification.ignored.append(f"LOCATION {read_string(statement)!r}")
    elif statement.takes("REFRESH POLICY"):
        specification.ignored.append(
            f"REFRESH POLICY {read_expression(statement, 'AS', 'COMMENT', 'TBLPROPERTIES', 'CLUSTER BY')}"
        )
    else:
        return False
    return True


def _note_row_filter(
    statement: Statement,  # Stands at WITH ROW FILTER
    specification: Specification,  # Takes it
) -> None:
    "Read `[WITH] ROW FILTER function ON (…)`."
    statement.takes("WITH")
    start = statement.at
    statement.needs("ROW FILTER")
    read_name_parts(statement)
    statement.needs("ON")
    skip_bracket(statement)
    text = spanned_text(statement, statement.words[start : statement.at])
    specification.notes["cdc.row_filter"] = text
    specification.ignored.append(text)


_ADJECTIVES = ("PRIVATE", "TEMPORARY", "TEMP", "STREAMING", "INCREMENTAL", "LIVE", "MATERIALIZED")


def read_kind(
    statement: Statement,  # Stands at TABLE or VIEW
    adjectives: set[str],  # Those before it, as STREAMING
) -> DatasetKind:  # What is created
    "What a CREATE creates; `PipelineError` for a table that is no pipeline's."
    streaming = bool(adjectives & {"STREAMING", "INCREMENTAL"})
    if statement.takes("TABLE"):
        if not streaming and adjectives - {"LIVE"} and "LIVE" not in adjectives:
            statement.at -= 1
            statement.fail(
                f"CREATE {' '.join(sorted(adjectives))} TABLE is not supported in a pipeline",
                "use CREATE OR REFRESH PRIVATE STREAMING TABLE or MATERIALIZED VIEW",
            )
        return "materialized_view" if "LIVE" in adjectives and not streaming else "streaming_table"
    if statement.takes("VIEW"):
        return "materialized_view" if "MATERIALIZED" in adjectives else "view"
    statement.fail(
        f"CREATE {statement.here.text.upper()} is not supported in a pipeline",
        "a pipeline declares tables, views and flows",
    )


def read_create(
    reading: Reading,  # Takes the declaration
    statement: Statement,  # Stands after CREATE
) -> None:
    "Read CREATE TABLE, VIEW or FLOW in any of its spellings."
    again = statement.takes("OR REFRESH") or statement.takes("OR REPLACE")
    adjectives: set[str] = set()
    while statement.here.says(*_ADJECTIVES):
        adjectives.add(statement.next().text.upper())
    if not adjectives and statement.takes("FLOW"):
        read_create_flow(reading, statement)
        return
    kind = read_kind(statement, adjectives)
    statement.takes("IF NOT EXISTS")
    text, clauses = read_name_parts(statement), Clauses()
    full = reading.name(statement, text)
    while read_clause(statement, clauses):
        pass
    clauses.is_managed = kind == "streaming_table" and not adjectives
    if clauses.is_managed:
        check_managed_table(statement, full, again)
    for clause in clauses.specification.ignored:
        reading.graph.warn(f"{full}: {clause} has no effect on the local runner")
    private = bool(adjectives & {"PRIVATE", "TEMPORARY", "TEMP"} or (kind == "view" and "LIVE" in adjectives))
    if kind == "streaming_table" and statement.takes("FLOW"):
        declare_with_flow(reading, statement, clauses, text, full, private)
        return
    declare_with_query(reading, statement, clauses, kind, full, private)


def check_managed_table(
    statement: Statement,  # Stands after the clauses of CREATE TABLE
    full: TableName,  # Its name
    again: bool,  # Whether it is to be replaced where it is there
) -> None:
    "Refuse what no managed table has: a query that is no flow, and flows that change rows."
    if again:
        statement.fail(
            f"{full}: CREATE OR REPLACE TABLE is not supported in a pipeline",
            "write CREATE TABLE, or CREATE OR REFRESH STREAMING TABLE",
        )
    if statement.sees("AS"):
        statement.fail(
            f"{full}: CREATE TABLE … AS is not supported in a pipeline",
            "write CREATE TABLE … FLOW INSERT BY NAME, or CREATE OR REFRESH MATERIALIZED VIEW … AS",
        )
    if statement.sees("FLOW") and not statement.sees("FLOW INSERT"):
        statement.fail(
            f"{full}: a managed table has no flow but FLOW INSERT BY NAME",
            "declare it by CREATE OR REFRESH STREAMING TABLE",
        )


def build_dataset(
    reading: Reading,  # Knows the scope
    statement: Statement,  # Its location
    clauses: Clauses,  # Its properties
    kind: DatasetKind,  # What is created
    full: TableName,  # Its name
    private: bool,  # Whether it stays out of the catalog
    query: Callable[[], DataFrame] | None = None,  # Its query
) -> Dataset:
    "Make a `Dataset` of what was read."
    columns = clauses.specification.columns
    typed = [column for column in columns if column.type]
    if typed and len(typed) < len(columns):
        statement.fail(
            f"{full}: some columns have a type and some have none", "give all of them a type, or none"
        )
    return Dataset(
        full,
        kind,
        query,
        comment=clauses.comment,
        schema=declared_schema(clauses.specification),
        partition_cols=clauses.partition_cols,
        cluster_by=clauses.cluster_by,
        table_properties=clauses.specification.notes | clauses.table_properties,
        private=private,
        expectations=tuple(clauses.specification.expectations),
        language="sql",
        scope=reading.names,
        is_managed=clauses.is_managed,
        location=statement.location,
    )


def declare_with_query(
    reading: Reading,  # Takes the declaration
    statement: Statement,  # Stands before AS, or at its end
    clauses: Clauses,  # Its properties
    kind: DatasetKind,  # What is created
    full: TableName,  # Its name
    private: bool,  # Whether it stays out of the catalog
) -> None:
    "Declare a table or view and, for a table, the flow of its query."
    query = None
    names = [quote_for_spark(column.name) for column in clauses.specification.columns if not column.type]
    if statement.takes("AS"):
        query, _ = read_query(reading, statement, names)
    elif statement.here.text:
        statement.fail("expected AS, or a clause of CREATE,")
    elif kind != "streaming_table":
        statement.fail(f"{full} has no query", "end the statement with AS SELECT …")
    reading.graph.add_dataset(build_dataset(reading, statement, clauses, kind, full, private, query))
    if kind != "view" and query:
        reading.graph.add_flow(
            Flow(
                str(full),
                full,
                "append" if kind == "streaming_table" else "complete",
                query,
                spark_conf=dict(reading.scope.settings),
                language="sql",
                scope=reading.names,
                location=statement.location,
            )
        )


def read_create_flow(
    reading: Reading,  # Takes the flow
    statement: Statement,  # Stands after CREATE FLOW
) -> None:
    "Read `name [COMMENT '…'] AS AUTO CDC INTO … | INSERT INTO …`."
    flow = read_name_parts(statement).strip("`")
    if statement.takes("COMMENT"):
        read_string(statement)
    statement.needs("AS")
    if statement.takes("AUTO CDC") or statement.takes("APPLY CHANGES"):
        once = read_once(statement)
        statement.needs("INTO")
        text = read_name_parts(statement)
        read_auto_cdc(reading, statement, text, reading.name(statement, text), flow, once)
        return
    statement.needs("INSERT")
    once = read_once(statement)
    statement.needs("INTO")
    once = read_once(statement) or once
    statement.takes("TABLE")
    full = reading.name(statement, read_name_parts(statement))
    by_name = statement.takes("BY NAME")
    if statement.sees("REPLACE"):
        declare_replacing(reading, statement, full, flow, once, by_name)
    else:
        declare_append(reading, statement, full, flow, once)


_QUERIES = ("SELECT", "WITH", "FROM", "VALUES")  # Words that a query begins with


def _read_until_query(
    statement: Statement,  # An expression comes next
) -> str:  # Its text for Spark
    "Read an expression up to BY NAME or a query."
    start = statement.at
    read_expression(statement, "BY NAME", *_QUERIES)
    return translate_words(statement, statement.words[start : statement.at])


def declare_replacing(
    reading: Reading,  # Takes the flow
    statement: Statement,  # Stands at REPLACE
    full: TableName,  # Its target
    flow: str,  # Its name
    once: bool,  # Whether it is to run once, which it can't
    by_name: bool,  # Whether BY NAME came before
) -> None:
    "Read `REPLACE USING (keys) SEQUENCE BY s [BY NAME] query` or `REPLACE WHERE condition [BY NAME] query`."
    if once:
        statement.fail(f"flow {flow}: REPLACE does not run ONCE", "leave out ONCE")
    if statement.takes("REPLACE USING"):
        keys = read_columns(statement)
        statement.needs("SEQUENCE BY")
        replaces = Replacement(keys, _read_until_query(statement))
    elif statement.takes("REPLACE WHERE"):
        replaces = Replacement(predicate=_read_until_query(statement))
    else:
        statement.fail("expected REPLACE USING or REPLACE WHERE")
    if not (statement.takes("BY NAME") or by_name):
        statement.fail(f"flow {flow}: REPLACE goes BY NAME", "write BY NAME before the query")
    query, _ = read_query(reading, statement)
    reading.graph.add_flow(
        Flow(
            flow,
            full,
            "replace_using" if replaces.keys else "replace_where",
            query,
            replaces=replaces,
            spark_conf=dict(reading.scope.settings),
            language="sql",
            scope=reading.names,
            location=statement.location,
        )
    )


def declare_append(
    reading: Reading,  # Takes the flow
    statement: Statement,  # Stands before the query
    full: TableName,  # Its target
    flow: str,  # Its name
    once: bool,  # Whether it runs once
) -> None:
    "Declare a flow that appends a query."
    query, found = read_query(reading, statement)
    if once and any(relation.streaming for relation in found):
        raise PipelineError(
            f"flow {flow} runs ONCE and reads a stream", statement.location, "read the source without STREAM"
        )
    reading.graph.add_flow(
        Flow(
            flow,
            full,
            "append",
            query,
            once=once,
            spark_conf=dict(reading.scope.settings),
            language="sql",
            scope=reading.names,
            location=statement.location,
        )
    )


def declare_with_flow(
    reading: Reading,  # Takes the declarations
    statement: Statement,  # Stands after FLOW
    clauses: Clauses,  # The table's properties
    text: str,  # The table's name as written
    full: TableName,  # The table's name
    private: bool,  # Whether it stays out of the catalog
) -> None:
    "Declare a streaming table together with its flow."
    reading.graph.add_dataset(build_dataset(reading, statement, clauses, "streaming_table", full, private))
    if statement.takes("AUTO CDC"):
        read_auto_cdc(reading, statement, text, full, None, read_once(statement))
        return
    if statement.sees("REPLACE"):
        declare_replacing(reading, statement, full, str(full), False, False)
        return
    if not statement.takes("INSERT"):
        statement.fail(
            f"{full}: FLOW {statement.here.text.upper()} is not supported",
            "write FLOW AUTO CDC, FLOW INSERT BY NAME, FLOW REPLACE USING or FLOW REPLACE WHERE",
        )
    once = read_once(statement)
    by_name = statement.takes("BY NAME")
    if statement.sees("REPLACE"):
        declare_replacing(reading, statement, full, str(full), once, by_name)
    else:
        declare_append(reading, statement, full, str(full), once)


def read_use(
    reading: Reading,  # Its scope changes
    statement: Statement,  # Stands after USE
) -> None:
    "Read `USE CATALOG c`, `USE SCHEMA s`, `USE c.s` or `USE s`."
    catalog = statement.takes("CATALOG")
    if not catalog and not statement.takes("SCHEMA"):
        statement.takes("DATABASE")
    parts = [
        part.strip("`")
        for part in re.findall(
            r"`[^`]*`|[^.\s]+",
            read_string(statement) if statement.here.kind == "string" else read_name_parts(statement),
        )
    ]
    if statement.here.text or len(parts) > 2 - catalog:
        statement.fail("expected USE CATALOG name or USE SCHEMA name")
    if catalog:
        reading.scope.catalog = parts[0]
    else:
        reading.scope.catalog, reading.scope.schema = (
            (parts[0] if len(parts) == 2 else reading.scope.catalog),
            parts[-1],
        )


def read_set(
    reading: Reading,  # Its scope changes
    statement: Statement,  # Stands after SET
) -> None:
    "Read `SET key = value`."
    rest = spanned_text(statement, statement.words[statement.at :])
    key, equals, value = rest.partition("=")
    if not equals and re.fullmatch(r"[\w.:-]*", key.strip()):
        reading.graph.warn(f"SET {rest} shows nothing in an update")
        return
    if not re.fullmatch(r"`[^`]+`|[\w.:-]+", key.strip()):
        statement.fail(f"SET {rest} is not supported", "write SET key = value")
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    reading.scope.settings[key.strip().strip("`")] = value[1:-1] if quoted else value


def declare_statement(
    reading: Reading,  # Takes the declaration
    statement: Statement,  # A whole statement
) -> None:
    "Read one statement; `PipelineError` for one that no pipeline has."
    if statement.takes("CREATE"):
        read_create(reading, statement)
        return
    if statement.takes("APPLY CHANGES INTO"):
        text = read_name_parts(statement)
        read_auto_cdc(reading, statement, text, reading.name(statement, text), None, False)
        return
    if statement.takes("USE"):
        read_use(reading, statement)
        return
    if statement.takes("SET"):
        read_set(reading, statement)
        return
    verb = (
        " ".join(word.text.upper() for word in statement.words[:2] if word.kind == "word")
        or statement.here.text
    )
    if statement.words[0].says("SELECT", "WITH", "FROM", "VALUES"):
        verb = "a query"
    statement.fail(
        f"{verb} is not supported in a pipeline",
        "a pipeline declares tables, views and flows; run other statements outside it",
    )


def declare_sql(
    sql_text: str,  # Text of a .sql file or a SQL cell
    graph: Graph,  # Takes the declarations
    spark: SparkSession,  # Classic: parses queries now, runs them later through `spark.sql`
    configuration: dict[str, str] | None = None,  # The pipeline's configuration, for `${parameter}`
    location: Location | None = None,  # Where the text's first line stands
    scope: Scope | None = None,  # `USE` and `SET` of the file's earlier cells
    parameters: Mapping[str, str] | None = None,  # The pipeline's parameters, for `:name`
) -> Scope:  # The scope for its later cells
    "Read Lakeflow SQL into the graph; `PipelineError` with the line for everything it cannot take."
    reading = Reading(graph, spark, scope or Scope())
    for written in split_statements(sql_text, location):
        text = sql_text[written.words[0].start : written.words[-1].stop]
        replaced = fill_parameters(text, (configuration or {}) | reading.scope.settings, written.location)
        replaced = bind_parameters(replaced, parameters or {}, written.location, _HOW_TO_GIVE)
        replaced = expand_identifiers(spark, replaced, written.location)
        for statement in split_statements(replaced, written.location):
            declare_statement(reading, statement)
    return reading.scope
