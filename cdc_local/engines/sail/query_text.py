"""A query's plan as text, the same for the same query in every process, and the tables that it reads."""

import re
from pathlib import Path
from typing import Any, cast

from deltalake import DeltaTable
from pyspark.sql import DataFrame

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
    for field, value in message.ListFields():
        if field.name in _OPEN_FIELDS:
            return False
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else [value]:
            if not _collect_tables(part, tables):
                return False
    return True


def _forget_plan_ids(message: Any) -> None:
    "Clear the numbers that PySpark gives to frames in the order of their making, and where they were made."
    for field, value in list(message.ListFields()):
        if field.name in ("plan_id", "origin"):
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else [value]:
                _forget_plan_ids(part)
