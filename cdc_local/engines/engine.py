"""Which engine a session speaks to. `protocol.py` says what an engine is asked."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from cdc_local.engines.protocol import Engine, Observed


@cache
def _find_engine(
    is_connect: bool,  # Whether the session speaks Spark Connect
) -> "Engine":
    if is_connect:
        from cdc_local.engines.sail.engine import SailEngine

        return SailEngine()
    from cdc_local.engines.spark.engine import SparkEngine

    return SparkEngine()


def engine_of(
    spark: "SparkSession",  # Any session of this process
) -> "Engine":
    "Tell which engine answers a session."
    return _find_engine(type(spark).__module__.startswith("pyspark.sql.connect."))


def is_sail(
    spark: "SparkSession",  # Any session of this process
) -> bool:
    "Whether Sail answers a session."
    return engine_of(spark).name == "sail"


def observe(
    frame: "DataFrame",  # A batch
    observed: "Observed",  # What `new_observation` made
    *columns: "Column",  # Aggregates over the rows, each with an alias
) -> "DataFrame":  # The same rows
    "Let the rows of a frame be counted."
    from pyspark.sql import Observation

    if isinstance(observed, Observation):
        return frame.observe(observed, *columns)
    return observed.observe(frame, *columns)
