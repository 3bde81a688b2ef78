"""What the rest of this project asks of an engine; `spark/engine.py` and `sail/engine.py` answer."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql import Column, DataFrame, Observation, SparkSession
    from pyspark.sql.types import StructType

    from cdc_local.engines.commit_files import CommitFiles
    from cdc_local.engines.sail.counted_frame import CountedFrame

    Observed = Observation | CountedFrame  # What counts the rows of a batch


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

    def analyse(
        self,
        frame: "DataFrame",  # A query
    ) -> None:
        "Find the mistakes in a query now; a frame of classic Spark is analysed as it is made."
        ...

    def describe_state(
        self,
        frame: "DataFrame",  # A stream
    ) -> str | None:  # What keeps state, or is refused of a stream; None where there is nothing of the kind
        "Tell a stream whose new rows can't be evaluated by themselves."
        ...

    def is_complete(
        self,
        frame: "DataFrame",  # A stream that keeps state
    ) -> bool:
        "Whether a stream's answer is one over all its rows so far: it aggregates without a watermark."
        ...

    def find_unknown(
        self,
        frame: "DataFrame",  # A query
        rules: Sequence["str | Column"] = (),  # Conditions on its rows
    ) -> list[str]:  # Sentences; none where all of it is known
        "Find what of a query is not known to give the same as on Spark."
        ...

    def reveal_columns(
        self,
        frame: "DataFrame",  # A batch or a stream
        conditions: Sequence["Column"],  # On its rows
    ) -> "DataFrame":  # The same rows
        "Add columns that conditions name and the query has dropped in its last step, as a filter has them."
        ...

    def has_order(
        self,
        frame: "DataFrame",  # A batch
    ) -> bool:
        "Whether the rows of a query come in the same order as on Spark."
        ...

    def describe_query(
        self,
        frame: "DataFrame",  # A batch
    ) -> tuple[str, list[tuple[str, str]]] | None:  # The same for the same query; see `Snapshot`
        """Describe all that a query's result depends on: its text, and of each Delta table that it reads the
        path and words that name its version. None where the result depends on more than that."""
        ...

    def read_delta(
        self,
        spark: "SparkSession",  # The session
        path: Path,  # A Delta table's folder
        options: Mapping[str, Any],  # Of the reader, such as `versionAsOf`
        streaming: bool = False,  # As a stream of new rows
    ) -> "DataFrame":
        "Read a Delta table; `NeedsSparkError` where only Spark reads it, or streams it, as asked."
        ...

    def read_added_files(
        self,
        spark: "SparkSession",  # The session
        path: Path,  # A Delta table's folder
        actions: Sequence[str],  # `NewFiles.actions`: one JSON text a file
    ) -> "DataFrame":  # Their rows, with the columns that the table has now
        "Read files of a Delta table, whether or not they are still part of it."
        ...

    def read_recorded_changes(
        self,
        spark: "SparkSession",  # The session
        path: Path,  # Folder of a Delta table that records its change feed
        commits: Sequence["CommitFiles"],  # That changed rows, in order; at least one
    ) -> "DataFrame":  # Rows of the feed: the table's columns, then what became of a row, and in which commit
        "Read what commits recorded of the rows that they changed."
        ...

    def frame_of_batches(
        self,
        spark: "SparkSession",  # The session
        schema: "pyarrow.Schema",  # Of the batches; a column `_metadata` is hidden, as Spark hides it
        batches: "Iterator[pyarrow.RecordBatch]",  # Rows
    ) -> "DataFrame":
        "Give rows of this process to the engine."
        ...

    def stand_in_stream(
        self,
        spark: "SparkSession",  # The session
        schema: "StructType",  # Its columns; one `_metadata` is hidden, as Spark hides it
    ) -> "DataFrame":  # A stream without rows
        "Stand in for a stream while flows are analysed."
        ...

    def new_observation(
        self,
        name: str,  # What is observed
    ) -> "Observed":
        "Make what will count the rows of a batch."
        ...

    def read_counts(
        self,
        spark: "SparkSession",  # Ran what was observed
        observed: Sequence[Any],  # What `new_observation` made, of frames that were written
    ) -> list[dict[str, Any] | None]:  # What each counted; None where the engine left its frame out
        "Read what was counted of frames that were written."
        ...
