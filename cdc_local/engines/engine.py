"""Which engine a session speaks to, and what the rest of this project asks of either.

`engine_of` is the door. `spark/engine.py` and `sail/engine.py` answer.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType


class Engine(Protocol):
    "What Spark and Sail both answer, each in its own way."

    name: str  # `spark` or `sail`

    def activate_session(
        self,
        spark: "SparkSession",  # The update's session
    ) -> None:
        "Make a session the active one of this thread, for code that asks for it."
        ...

    def cancel_jobs(
        self,
        spark: "SparkSession",  # The session
    ) -> None:
        "Stop the streams and jobs of a session where they are."
        ...

    def has_session_table(
        self,
        spark: "SparkSession",  # The session
        name: str,  # A name of one part
    ) -> bool:
        "Whether the session has a temporary view or a table of that name."
        ...

    def is_stateless(
        self,
        frame: "DataFrame",  # A stream
    ) -> bool:
        "Whether each new row of a stream becomes rows by itself; False where that is not certain."
        ...

    def read_added_files(
        self,
        spark: "SparkSession",  # The session
        path: Path,  # A Delta table's folder
        actions: Sequence[str],  # `NewFiles.actions`: one JSON text a file
    ) -> "DataFrame":  # Their rows, with the columns that the table has now
        "Read files of a Delta table, whether or not they are still part of it."
        ...

    def can_upcast(
        self,
        spark: "SparkSession",  # The session
        stored: "DataType",  # Type of a stored column
        now: "DataType",  # Type of its new values
    ) -> bool:
        "Whether a stored column can hold new values unchanged, by Spark's own rule."
        ...

    def frame_of_batches(
        self,
        spark: "SparkSession",  # The session
        schema: "pyarrow.Schema",  # Of the batches; a column `_metadata` is hidden, as Spark hides it
        batches: "Iterator[pyarrow.RecordBatch]",  # Rows
    ) -> "DataFrame":
        "Give rows of this process to the engine."
        ...


@cache
def _engine(
    is_connect: bool,  # Whether the session speaks Spark Connect
) -> Engine:
    if is_connect:
        from cdc_local.engines.sail.engine import SailEngine

        return SailEngine()
    from cdc_local.engines.spark.engine import SparkEngine

    return SparkEngine()


def engine_of(
    spark: "SparkSession",  # Any session of this process
) -> Engine:
    "Tell which engine answers a session."
    return _engine(type(spark).__module__.startswith("pyspark.sql.connect."))
