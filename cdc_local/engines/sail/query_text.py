"""A query's plan as text, the same for the same query in every process, and the tables that it reads."""

import re
from pathlib import Path
from typing import Any, cast

from deltalake import DeltaTable
from pyspark.sql import DataFrame

from cdc_local.engines.known.expressions import parts_of_message

# Functions whose answer is another one each time, and what holds code or names that the plan does not show
_OPEN_FUNCTIONS = re.compile(
    r"rand|uuid|shuffle|random|current_|now|localtimestamp|monotonically_increasing_id|spark_partition_id"
    r"|input_file|session_user|^user$|getvariable|curdate|unix_timestamp"
)
_OPEN_FIELDS = ("common_inline_user_defined_function", "sql", "sample", "python_udtf")


def describe_query(
    frame: DataFrame,  # A batch
) -> tuple[str, list[tuple[str, str]]] | None:  # Text, and path and version of each Delta table
    "Describe all that a query's result depends on; None where it depends on more than tables and its text."
    client = cast(Any, frame).sparkSession.client
    root: Any = cast(Any, frame)._plan.plan(client)
    tables: list[tuple[str, str]] = []
    if not _collect_tables(root, tables):
        return None
    _forget_plan_ids(root)
    return root.SerializeToString(deterministic=True).hex(), tables


def _collect_tables(message: Any, tables: list[tuple[str, str]]) -> bool:
    "Note the Delta tables of a plan; False where something else decides about the rows."
    kind = message.DESCRIPTOR.name
    if kind == "Read":
        source = message.data_source
        if source.format != "delta" or len(source.paths) != 1:
            return False
        path = source.paths[0]
        version = source.options.get("versionAsOf") or DeltaTable(path).version()
        tables.append((str(Path(path)), f"version={version}"))
        return True
    text = message.function_name if kind == "UnresolvedFunction" else ""
    if _OPEN_FUNCTIONS.search((message.expression if kind == "ExpressionString" else text).lower()):
        return False
    if any(field.name in _OPEN_FIELDS for field, _ in message.ListFields()):
        return False
    return all(_collect_tables(part, tables) for part in parts_of_message(message))


def _forget_plan_ids(message: Any) -> None:
    "Clear the numbers that PySpark gives to frames in the order of their making, and where they were made."
    for name in ("plan_id", "origin"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for part in parts_of_message(message):
        _forget_plan_ids(part)
