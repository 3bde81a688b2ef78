"""What `cdc_local.engines.protocol.Engine` asks, answered by Sail."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import pyarrow
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from cdc_local.engines.commit_files import CommitFiles
from cdc_local.engines.known.plan import find_unknown, find_unknown_rule, has_order
from cdc_local.engines.known.state import describe_state
from cdc_local.engines.sail.counted_frame import CountedFrame
from cdc_local.engines.sail.hidden_columns import METADATA, hide_metadata
from cdc_local.engines.sail.query_text import describe_query
from cdc_local.engines.sail.staged_rows import stage_rows
from cdc_local.errors import NeedsSparkError

if TYPE_CHECKING:
    from cdc_local.engines.protocol import Engine

# Features of Delta tables whose rows Sail reads as Spark does
_PLAIN_FEATURES = frozenset(
    {"appendOnly", "invariants", "timestampNtz", "checkConstraints", "changeDataFeed"}
)

# Options of Delta's reader that mean nothing to a read, or that Sail has
_READER_OPTIONS = frozenset({"versionasof", "skipchangecommits"})
_STREAM_OPTIONS = _READER_OPTIONS | {"startingversion", "startingtimestamp"}  # Rows are read batch by batch


class SailEngine:
    "Sail in this process; the methods are described where `Engine` is."

    name = "sail"

    def activate_session(self, spark: SparkSession) -> None:
        from pyspark.sql.connect.session import SparkSession as ConnectSession

        ConnectSession._set_default_and_active_session(cast(ConnectSession, spark))

    def cancel_jobs(self, spark: SparkSession) -> None:
        spark.interruptAll()

    def has_session_table(self, spark: SparkSession, name: str) -> bool:
        return bool(spark.catalog.tableExists(name))

    def analyse(self, frame: DataFrame) -> None:
        client = cast(Any, frame).sparkSession.client
        client.schema(cast(Any, frame)._plan.to_proto(client))  # `frame.schema` may repeat its input's

    def describe_state(self, frame: DataFrame) -> str | None:
        return describe_state(frame)

    def is_complete(self, frame: DataFrame) -> bool:
        return False  # what keeps state is left to Spark

    def find_unknown(self, frame: DataFrame, rules: Sequence[str | Column] = ()) -> list[str]:
        of_rules = [sentence for rule in rules for sentence in find_unknown_rule(frame, rule)]
        return list(dict.fromkeys([*find_unknown(frame), *of_rules]))

    def reveal_columns(self, frame: DataFrame, conditions: Sequence[Column]) -> DataFrame:
        return frame  # `find_unknown` has told of a column that is not there

    def has_order(self, frame: DataFrame) -> bool:
        return has_order(frame)

    def describe_query(self, frame: DataFrame) -> tuple[str, list[tuple[str, str]]] | None:
        return describe_query(frame)

    def read_delta(
        self, spark: SparkSession, path: Path, options: Mapping[str, Any], streaming: bool = False
    ) -> DataFrame:
        table = _open_plain_table(path)
        known = _STREAM_OPTIONS if streaming else _READER_OPTIONS
        if other := sorted(name for name in options if name.lower() not in known):
            raise NeedsSparkError(f"Delta's reader option {other[0]} is obeyed by Spark alone")
        if streaming:
            return self.stand_in_stream(spark, _read_schema(table))
        return spark.read.format("delta").options(**options).load(str(path))

    def read_added_files(self, spark: SparkSession, path: Path, actions: Sequence[str]) -> DataFrame:
        return _read_files(spark, path, actions, _read_unpartitioned_schema(path))

    def read_recorded_changes(
        self, spark: SparkSession, path: Path, commits: Sequence[CommitFiles]
    ) -> DataFrame:
        schema, frames = _read_unpartitioned_schema(path), []
        recorded = StructType([*schema, StructField("_change_type", StringType())])
        for commit in commits:
            if commit.recorded:
                rows = [_read_files(spark, path, commit.recorded, recorded)]
            else:
                whole = ((commit.removed, "delete"), (commit.added, "insert"))
                rows = [
                    _read_files(spark, path, files, schema).withColumn("_change_type", F.lit(kind))
                    for files, kind in whole
                    if files
                ]
            version, moment = F.lit(commit.version).cast("bigint"), F.lit(commit.moment).cast("timestamp")
            columns = version.alias("_commit_version"), moment.alias("_commit_timestamp")
            frames += [frame.select("*", *columns) for frame in rows]
        return reduce(DataFrame.unionAll, frames)

    def frame_of_batches(
        self, spark: SparkSession, schema: pyarrow.Schema, batches: Iterator[pyarrow.RecordBatch]
    ) -> DataFrame:
        frame = spark.read.parquet(str(stage_rows(schema, batches)))
        return hide_metadata(frame) if METADATA in schema.names else frame

    def stand_in_stream(self, spark: SparkSession, schema: StructType) -> DataFrame:
        ticks = spark.readStream.format("rate").load().where("false")
        frame = ticks.select(*[F.lit(None).cast(field.dataType).alias(field.name) for field in schema])
        return hide_metadata(frame) if METADATA in schema.names else frame

    def new_observation(self, name: str) -> CountedFrame:
        return CountedFrame()

    def read_counts(
        self, spark: SparkSession, observed: Sequence[CountedFrame]
    ) -> list[dict[str, Any] | None]:
        return [counted.counts for counted in observed]


def _open_plain_table(path: Path) -> Any:
    "Open a table whose files hold its rows and nothing else; `NeedsSparkError` for another."
    from deltalake import DeltaTable

    table = DeltaTable(str(path))
    protocol = table.protocol()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())} - _PLAIN_FEATURES
    if features or protocol.min_reader_version == 2:
        named = ", ".join(sorted(features)) or "columnMapping"
        raise NeedsSparkError(f"the Delta table {path.name} has features that Spark alone reads: {named}")
    return table


def _read_unpartitioned_schema(path: Path) -> StructType:
    "Columns of a table whose files have all of them; `NeedsSparkError` for another."
    table = _open_plain_table(path)
    if partitions := table.metadata().partition_columns:
        raise NeedsSparkError(
            f"the new rows of {path.name}, which is partitioned by {', '.join(partitions)}, "
            "are read by Spark alone"
        )
    return _read_schema(table)


def _read_files(spark: SparkSession, path: Path, actions: Sequence[str], schema: StructType) -> DataFrame:
    "Read files of a table; a column that one does not have is NULL."
    files = [str(path / unquote(json.loads(action)["add"]["path"])) for action in actions]
    if not files:
        return spark.createDataFrame([], schema)
    return spark.read.schema(schema).parquet(*files)


def _read_schema(table: Any) -> StructType:
    "A table's columns; any may be NULL."
    return StructType.fromJson(json.loads(table.schema().to_json())).toNullable()


if TYPE_CHECKING:
    _: Engine = SailEngine()
