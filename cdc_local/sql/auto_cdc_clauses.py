"""The clauses of `AUTO CDC INTO`."""

import re
from functools import partial
from typing import Any

from cdc_local.dataflow.graph import Dataset, Flow, Query
from cdc_local.errors import Location, PipelineError, locate
from cdc_local.sql.dialect import translate, translate_words
from cdc_local.sql.lexer import closing_bracket, split_at_commas, tokenize
from cdc_local.sql.parser import Statement, read_columns, read_expression, read_name_parts
from cdc_local.sql.positions import find_position
from cdc_local.sql.relations import Relation, find_relations
from cdc_local.sql.scope import Reading, drop_live
from cdc_local.sql.snapshot_queries import VersionedSnapshots, read_bracketed_query
from cdc_local.storage import TableName
from cdc_utils.snapshots import ABSENT, VERSION
from cdc_utils.spec import CdcSpec


def read_once(
    statement: Statement,  # Stands where ONCE may come
) -> bool:  # Whether it came
    "Step over ONCE if it comes next."
    return statement.takes("ONCE")


# In the order of Databricks' grammar, which is the only one that it takes; 2026-11-29:
# docs.databricks.com/aws/en/sql/language-manual/sql-ref-syntax-ddl-create-streaming-table-auto-cdc
ORDERED_CLAUSES = (
    "KEYS (",
    "IGNORE NULL UPDATES",
    "APPLY AS DELETE WHEN",
    "APPLY AS TRUNCATE WHEN",
    "SEQUENCE BY",
    "SYSTEM SEQUENCE BY",
    "COLUMNS",
    "STORED AS",
    "TRACK HISTORY ON",
    "COLUMNS TO UPDATE",
)
CDC_CLAUSES = (*ORDERED_CLAUSES, "WHERE")


def check_order(
    statement: Statement,  # Stands at a clause
    before: str,  # The clause before it; '' at the first
) -> str:  # The clause; what is none gives the one before it
    "Refuse a clause that stands before one it must follow, as Databricks' parser does."
    here = [clause for clause in ORDERED_CLAUSES if statement.sees(clause)]
    if not here:
        return before
    clause = here[-1]  # COLUMNS TO UPDATE is also COLUMNS
    if before and ORDERED_CLAUSES.index(clause) < ORDERED_CLAUSES.index(before):
        first, second = (name.rstrip(" (") for name in (clause, before))
        order = ", ".join(name.rstrip(" (") for name in ORDERED_CLAUSES)
        statement.fail(
            f"AUTO CDC: {first} stands after {second}",
            f"Databricks takes the clauses in one order: {order}",
        )
    return clause


def read_column_choice(
    statement: Statement,  # A list of columns, or `* EXCEPT (…)`, comes next
    prefix: str,  # '', 'track_history_' or 'ignore_null_updates_'
) -> dict[str, Any]:  # The field of `CdcSpec` it sets; empty for a mere `*`
    "Read `(a, b)`, `a, b`, `* EXCEPT (a, b)` or `*`."
    if statement.takes("*"):
        return {f"{prefix}except_column_list": read_columns(statement)} if statement.takes("EXCEPT") else {}
    if statement.sees("("):
        return {f"{prefix}column_list": read_columns(statement)}
    start = statement.at
    read_expression(statement, *CDC_CLAUSES)
    return {f"{prefix}column_list": read_columns(statement, statement.words[start : statement.at])}


def read_cdc_clause(
    statement: Statement,  # Stands at a clause
) -> dict[str, Any]:  # Fields of `CdcSpec`
    "Read one clause of AUTO CDC."
    if statement.takes("KEYS"):
        return {"keys": read_columns(statement)}
    if statement.takes("IGNORE NULL UPDATES"):
        if not statement.takes("ON"):
            return {"ignore_null_updates": True}
        return read_column_choice(statement, "ignore_null_updates_") or {"ignore_null_updates": True}
    if statement.takes("APPLY AS DELETE WHEN"):
        return {"apply_as_deletes": read_condition(statement)}
    if statement.takes("APPLY AS TRUNCATE WHEN"):
        return {"apply_as_truncates": read_condition(statement)}
    if statement.takes("SEQUENCE BY"):
        return {"sequence_by": read_sequence_by(read_condition(statement))}
    if statement.takes("SYSTEM SEQUENCE BY"):
        return {"system_sequence_by": read_sequence_by(read_condition(statement))}
    if statement.takes("COLUMNS TO UPDATE"):
        return {"columns_to_update": read_name_parts(statement).strip("`")}
    if statement.takes("COLUMNS"):
        return read_column_choice(statement, "")
    if statement.takes("TRACK HISTORY ON"):
        return read_column_choice(statement, "track_history_")
    if statement.takes("STORED AS SCD TYPE"):
        return {"stored_as_scd_type": statement.next().text}
    if statement.takes("STORED AS"):
        return {"stored_as_scd_type": statement.next().text.lower()}
    if statement.sees("WHERE"):
        statement.fail("AUTO CDC: WHERE is not supported", "filter in a view and stream from it")
    statement.fail("expected a clause of AUTO CDC")


def read_condition(
    statement: Statement,  # An expression comes next
) -> str:  # Its text for Spark
    "Read an expression up to the next clause."
    start = statement.at
    read_expression(statement, *CDC_CLAUSES)
    return translate_words(statement, statement.words[start : statement.at])


def read_sequence_by(
    text: str,  # What follows SEQUENCE BY
) -> str:  # The same as one expression
    "Several columns, with or without a bracket, are a struct."
    words = tokenize(text)
    bracketed = words[0].says("(") and closing_bracket(words, 0) == len(words) - 1
    if bracketed and len(split_at_commas(words[1:-1])) > 1:
        text = text.strip()[1:-1]
    return f"struct({text})" if len(split_at_commas(tokenize(text))) > 1 else text


SELECT = "SELECT * FROM "


def is_plain(
    relation: Relation,  # What a source of AUTO CDC reads
    sql: str,  # `SELECT`, and the source as written
) -> bool:
    "Whether a source is a name and nothing else."
    return not relation.options and relation.start == len(SELECT) and not sql[relation.stop :].strip()


def read_source_clause(
    reading: Reading,  # Takes the view
    statement: Statement,  # Stands after FROM
    full: TableName,  # The target
    flow: str,  # The flow
    once: bool,  # Whether it runs once
) -> str:  # A name for `CdcSpec.source`
    "Read the source of AUTO CDC."
    start = statement.at
    sql = SELECT + read_expression(statement, *CDC_CLAUSES)
    origin = locate(statement.sql, statement.words[start].start, statement.origin)
    position = find_position(statement.sql, statement.words[start].start, statement.origin)
    sql = SELECT + translate(sql.removeprefix(SELECT), position)
    found = find_relations(reading.spark, sql, origin)
    if not once and not any(relation.streaming for relation in found):
        raise PipelineError(
            f"flow {flow} reads {sql.removeprefix(SELECT).strip()} as a batch", origin, "write FROM STREAM(…)"
        )
    if len(found) == 1 and found[0].name and is_plain(found[0], sql):
        return drop_live(found[0].name)
    return add_source_view(reading, full, flow, partial(reading.spark.sql, sql), origin)


def add_source_view(
    reading: Reading,  # Takes the view
    full: TableName,  # The target
    flow: str,  # The flow
    query: Query,  # What it reads
    location: Location,  # Where it is written
) -> str:  # The view's name
    "Make a query the source of AUTO CDC."
    view = TableName(full.catalog, full.schema, "__" + re.sub(r"\W", "_", flow) + "_source")
    reading.graph.add_dataset(
        Dataset(view, "view", query, private=True, language="sql", scope=reading.names, location=location)
    )
    return view.table


def read_auto_cdc(
    reading: Reading,  # Takes the flow
    statement: Statement,  # Stands before FROM
    text: str,  # The target as written
    full: TableName,  # The target
    flow: str | None,  # The flow's name; the target's by default
    once: bool,  # Whether it runs once
) -> None:
    "Read the clauses of AUTO CDC into a flow."
    statement.needs("FROM")
    if statement.takes("SNAPSHOT"):
        read_auto_cdc_from_snapshot(reading, statement, text, full, flow, once)
        return
    source = read_source_clause(reading, statement, full, flow or str(full), once)
    fields: dict[str, Any] = {
        "target": drop_live(text),
        "source": source,
        "keys": (),
        "sequence_by": None,
    }
    fields |= read_clauses(statement, flow or str(full))
    spec = _make_spec(fields | {"name": flow, "once": once}, statement.location)
    reading.graph.add_flow(
        Flow(
            flow or str(full),
            full,
            "auto_cdc",
            spec=spec,
            once=once,
            spark_conf=dict(reading.scope.settings),
            language="sql",
            scope=reading.names,
            location=statement.location,
        )
    )


def _make_spec(
    fields: dict[str, Any],  # Of `CdcSpec`
    location: Location,  # Where they are written
) -> CdcSpec:
    "Make the spec of a flow; a mistake raises `PipelineError`."
    try:
        return CdcSpec(**fields)
    except ValueError as wrong:
        raise PipelineError(str(wrong), location) from None


def read_clauses(
    statement: Statement,  # Stands after the source
    flow: str,  # The flow
) -> dict[str, Any]:  # Fields of `CdcSpec`
    "Read the clauses after the source, each once."
    fields: dict[str, Any] = {}
    before = ""
    while statement.here.text:
        before = check_order(statement, before)
        clause, line = read_cdc_clause(statement), statement.location
        twice = [name for name, value in clause.items() if fields.get(name)]
        if twice:
            raise PipelineError(f"flow {flow}: {twice[0]} is given twice", line)
        fields |= clause
    return fields


# What a flow from snapshots may say beside its source, as Python's function has it
_OF_SNAPSHOTS = frozenset(
    {"keys", "stored_as_scd_type", "track_history_column_list", "track_history_except_column_list"}
)


def read_auto_cdc_from_snapshot(
    reading: Reading,  # Takes the flow
    statement: Statement,  # Stands after SNAPSHOT
    text: str,  # The target as written
    full: TableName,  # The target
    flow: str | None,  # The flow's name; the target's by default
    once: bool,  # Whether it runs once
) -> None:
    "Read `(query) [WITH VERSION (query)]` and the clauses after it into a flow from snapshots."
    name, location = flow or str(full), statement.location
    snapshot = read_bracketed_query(reading, statement)
    version = read_bracketed_query(reading, statement) if statement.takes("WITH VERSION") else None
    snapshots = None if version is None else VersionedSnapshots(name, snapshot, version, location)
    if snapshots is None:
        source = add_source_view(reading, full, name, snapshot.run, location)
    else:
        source = "SNAPSHOT (…)"
    clauses = read_clauses(statement, name)
    if others := sorted(clauses.keys() - _OF_SNAPSHOTS):
        clause = others[0].replace("_", " ").upper()
        message = f"flow {name}: {clause} is no clause of AUTO CDC FROM SNAPSHOT"
        raise PipelineError(message, location, "it takes KEYS, STORED AS and TRACK HISTORY ON")
    if clauses.get("stored_as_scd_type") == "bitemporal":
        raise PipelineError(
            f"flow {name}: a snapshot has one time, its version", location, "store it as SCD TYPE 1 or 2"
        )
    fields = {
        "target": drop_live(text),
        "source": source,
        "keys": (),
        "sequence_by": VERSION,
        "apply_as_deletes": ABSENT,
        "except_column_list": (VERSION, ABSENT),
        "name": flow,
        "once": once,
    }
    spec = _make_spec(fields | clauses, location)
    reading.graph.add_flow(
        Flow(
            name,
            full,
            "snapshot",
            spec=spec,
            snapshots=None if snapshots is None else snapshots.find_next,
            snapshots_without_rows=None if snapshots is None else snapshots.find_columns,
            once=once,
            spark_conf=dict(reading.scope.settings),
            language="sql",
            scope=reading.names,
            location=location,
        )
    )
