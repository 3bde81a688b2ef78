"""What `cdc_local.engines.protocol.Engine` asks, answered by Spark."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.engines.commit_files import CommitFiles
from cdc_local.engines.spark import jobs, new_rows
from cdc_local.engines.spark.catalyst import query_text, reveal_columns, table_snapshots

if TYPE_CHECKING:
    from cdc_local.engines.protocol import Engine


class SparkEngine:
    "Spark in a JVM; the methods are described where `Engine` is."

    name = "spark"

    def activate_session(self, spark: SparkSession) -> None:
        jobs.activate_session(spark)

    def cancel_jobs(self, spark: SparkSession) -> None:
        jobs.cancel_jobs(spark)

    def has_session_table(self, spark: SparkSession, name: str) -> bool:
        return jobs.has_session_table(spark, name)

    def analyse(self, frame: DataFrame) -> None:
        pass

    def describe_state(self, frame: DataFrame) -> str | None:
        return None if new_rows.is_stateless(frame) else "Spark's stream keeps state for it, or refuses it"

    def is_complete(self, frame: DataFrame) -> bool:
        return new_rows.is_complete_stream(frame)

    def find_unknown(self, frame: DataFrame, rules: Sequence[str | Column] = ()) -> list[str]:
        return []  # Spark is what others are compared with

    def reveal_columns(self, frame: DataFrame, conditions: Sequence[Column]) -> DataFrame:
        return reveal_columns(frame, conditions)

    def has_order(self, frame: DataFrame) -> bool:
        return True

    def describe_query(self, frame: DataFrame) -> tuple[str, list[tuple[str, str]]] | None:
        snapshots = table_snapshots(frame)
        return None if snapshots is None else (query_text(frame), snapshots)

    def read_delta(
        self, spark: SparkSession, path: Path, options: Mapping[str, Any], streaming: bool = False
    ) -> DataFrame:
        reader = (spark.readStream if streaming else spark.read).format("delta").options(**options)
        return reader.load(str(path))

    def read_added_files(self, spark: SparkSession, path: Path, actions: Sequence[str]) -> DataFrame:
        return new_rows.read_added_files(spark, path, actions)

    def read_recorded_changes(
        self, spark: SparkSession, path: Path, commits: Sequence[CommitFiles]
    ) -> DataFrame:
        bounds = {"startingVersion": commits[0].version, "endingVersion": commits[-1].version}
        return self.read_delta(spark, path, {"readChangeFeed": "true"} | bounds)

    def frame_of_batches(
        self, spark: SparkSession, schema: pyarrow.Schema, batches: Iterator[pyarrow.RecordBatch]
    ) -> DataFrame:
        return spark.createDataFrame(pyarrow.Table.from_batches(batches, schema))

    def stand_in_stream(self, spark: SparkSession, schema: StructType) -> DataFrame:
        ticks = spark.readStream.format("rate").load().where("false")
        return ticks.select(*[F.lit(None).cast(field.dataType).alias(field.name) for field in schema])

    def new_observation(self, name: str) -> Observation:
        return Observation(name)

    def read_counts(
        self, spark: SparkSession, observed: Sequence[Observation]
    ) -> list[dict[str, Any] | None]:
        return jobs.read_observations(spark, list(observed))


if TYPE_CHECKING:
    _: Engine = SparkEngine()
