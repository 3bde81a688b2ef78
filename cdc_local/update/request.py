"""What one update is asked to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from cdc_local.dataflow.graph import Graph
from cdc_local.engines.sail.session import start_sail
from cdc_local.engines.sail.settings import refuse_setting
from cdc_local.engines.sail.staged_rows import forget_staged_rows
from cdc_local.engines.session import choose_engine
from cdc_local.engines.spark.java import is_java_running
from cdc_local.engines.spark.memory import MEMORY_SETTING, MEMORY_VARIABLE
from cdc_local.engines.spark.session import start_spark
from cdc_local.errors import NeedsSparkError, UsageError
from cdc_local.source.user_errors import describe_exception
from cdc_local.storage import Storage, TableName


@dataclass(frozen=True)
class UpdateRequest:
    "One update to run."

    sources: tuple[str, ...]  # Files, folders and `**` patterns of pipeline source
    storage: Path  # Folder of tables, volumes, checkpoints and the event log
    catalog: str = "main"  # Catalog of names that give none
    schema: str = "default"  # Schema of names that give none
    configuration: dict[str, Any] = field(default_factory=dict)  # The pipeline's configuration
    parameters: dict[str, str] = field(default_factory=dict)  # Of the pipeline: `:name` in its SQL files
    full_refresh: tuple[str, ...] = ()  # Tables to empty and compute from all their source
    full_refresh_all: bool = False  # All of them
    refresh: tuple[str, ...] = ()  # Only these tables; all by default
    dry_run: bool = False  # Read, analyse, write nothing
    keeps_events: bool = False  # Whether the events of a dry run are written, as the workspace's are
    engine: str | None = None  # `auto`, `sail` or `spark`; what CDC_ENGINE says, else `auto`, by default
    master: str | None = None  # Spark master; this machine by default
    # Joins `sys.path`; the parent of the topmost source's folder by default
    root_path: str | Path | None = None
    pipeline_name: str = "pipeline"  # Name in the event log
    update_id: str | None = None  # A new one by default
    # Wheels that the pipeline's files import from, before anything that is installed here
    wheels: tuple[Path, ...] = ()
    waits_for_storage: bool = False  # Wait while another update has locked the storage
    continuous: bool = False  # One of the rounds of an update that goes on until it is stopped
    resumed: bool = False  # Of such an update not the first round


def choose_tables(
    graph: Graph,  # The pipeline
    request: UpdateRequest,  # With its selections
) -> tuple[set[TableName], set[TableName]]:  # Tables to run, tables to empty first
    "Resolve `--refresh` and `--full-refresh`; `UsageError` for an unknown table, or one that keeps its rows."
    full_refresh = {graph.find_name(text) for text in request.full_refresh}
    refresh = {graph.find_name(text) for text in request.refresh}
    for text in request.full_refresh:
        name = graph.find_name(text)
        if not _may_be_emptied(graph, name):
            raise UsageError(
                f"{name} may not be emptied: its property pipelines.reset.allowed is false",
                hint="remove the property, or leave the table out of --full-refresh",
            )
    tables = {flow.target for flow in graph.flows.values()}
    if request.full_refresh_all:
        return tables, {name for name in tables if _may_be_emptied(graph, name)}
    return full_refresh | refresh or tables, full_refresh


def _may_be_emptied(
    graph: Graph,  # The pipeline
    name: TableName,  # One of its tables
) -> bool:
    "Tell a table that a full refresh may empty: its property `pipelines.reset.allowed` is not false."
    allowed = graph.datasets[name].table_properties.get("pipelines.reset.allowed", "true")
    return str(allowed).lower() != "false"


# What code of a pipeline asks Databricks: whether names have three parts
_PLATFORM_SETTINGS = {"spark.databricks.unityCatalog.enabled": "true"}


@contextmanager
def update_session(
    request: UpdateRequest,  # With master and configuration
    engine: str | None = None,  # `sail` or `spark`; the one asked for by default, Spark for `auto`
) -> Iterator[SparkSession]:
    "The session of an update, with the pipeline's configuration; `UsageError` where a setting is refused."
    if (memory := request.configuration.get(MEMORY_SETTING)) is not None:
        raise UsageError(
            f"--conf {MEMORY_SETTING}={memory}: the memory of Java is fixed when it starts",
            hint=f"write --memory {memory} instead, or set {MEMORY_VARIABLE}",
        )
    if engine is None:
        engine = "sail" if choose_engine(request.engine) == "sail" else "spark"
    spark = _start_sail(request) if engine == "sail" else _start_spark(request)
    before: dict[str, str | None] = {}
    try:
        for key, value in (_PLATFORM_SETTINGS | request.configuration).items():
            previous = spark.conf.get(key, None)
            try:
                spark.conf.set(key, str(value))
            except Exception as wrong:
                raise UsageError(f"--conf {key}={value}: {describe_exception(wrong)}") from None
            before[key] = previous  # what could not be set need not, and cannot, be set back
        yield spark
    finally:
        for key, previous in before.items() if engine == "sail" or is_java_running() else ():
            if previous is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, previous)
        if engine == "sail":
            forget_staged_rows()


def _start_sail(request: UpdateRequest) -> SparkSession:
    if request.master is not None:
        raise NeedsSparkError(f"--master {request.master} is a cluster of Spark")
    for key in request.configuration:
        refuse_setting(key)
    return start_sail(gives_way=True)


def _start_spark(request: UpdateRequest) -> SparkSession:
    log = None if request.dry_run else Storage(request.storage).spark_log_path
    return start_spark(request.master, log=log)
