"""What is being evaluated: set while the user's code runs, and read by whatever stands in for Spark."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pyspark.sql import DataFrame, Observation, SparkSession

from cdc_local.autoloader.files import FileSelection
from cdc_local.autoloader.options import Options
from cdc_local.dataflow.graph import Expectation, Flow
from cdc_local.engines.sail.counted_frame import CountedFrame
from cdc_local.storage import TableName


class NewRowsReader(Protocol):
    "What reads streaming sources as batches of their new rows, while a flow's query is evaluated for one."

    def read_table(
        self,
        path: Path,  # A Delta table's folder
        options: dict[str, str],  # Reader options, such as `skipChangeCommits`
    ) -> DataFrame | None:  # Its new rows, hidden ones included; None where only Spark's stream knows them
        "Read the rows that the flow has not read."
        ...

    def select_files(
        self,
        path: str,  # Folder, file or glob
        options: Options,  # Of Auto Loader
        files: Sequence[str],  # All files there are, as paths
    ) -> FileSelection:
        "Select the files that the flow has not read."
        ...


@dataclass
class Evaluation:
    "One evaluation of a flow's or a view's query."

    flow: Flow | None  # The flow, None while source files declare
    reads: set[TableName] = field(default_factory=set)  # Tables and views it reads
    views: list[TableName] = field(default_factory=list)  # Views being evaluated inside it, outermost first
    # Where the rules of each dataset are counted: with a batch, or by a name in a stream's progress
    observed: dict[TableName, Observation | CountedFrame | str] = field(default_factory=dict)
    rules: dict[TableName, tuple[Expectation, ...]] = field(default_factory=dict)  # The rules counted there
    actions: set[str] = field(default_factory=set)  # Actions that its functions ran, such as `count`
    is_stateless: bool = False  # A stream whose new rows can be evaluated batch by batch
    is_complete: bool = False  # A stream whose answer is one over all rows so far: each batch has it whole
    new_rows: NewRowsReader | None = None  # What streaming sources are read with; None for streams
    is_declaring: bool = False  # Source files run, so not all names are known
    # Global views that subqueries in expressions read, until what is evaluated has ended
    expression_views: list[str] = field(default_factory=list)


# Set while the user's code runs; None while our own code does
current_evaluation: ContextVar[Evaluation | None] = ContextVar("evaluation", default=None)


@contextmanager
def evaluating(
    evaluation: Evaluation | None,  # What runs; None for our own code inside it
) -> Iterator[Evaluation | None]:
    "Mark the user's code, or a stretch of ours within it."
    token = current_evaluation.set(evaluation)
    try:
        yield evaluation
    finally:
        current_evaluation.reset(token)


@contextmanager
def keep_expression_views(
    spark: SparkSession,  # Has the views
    evaluation: Evaluation,  # Takes them
) -> Iterator[None]:
    "Drop the views that come within the block at its end: what reads them is analysed then."
    first = len(evaluation.expression_views)
    try:
        yield
    finally:
        for name in evaluation.expression_views[first:]:
            spark.catalog.dropGlobalTempView(name)
        del evaluation.expression_views[first:]


@contextmanager
def declaring(
    spark: SparkSession,  # The update's session
) -> Iterator[None]:
    "Mark the running of source files, outside any dataset function."
    with _outside_datasets(spark, Evaluation(None, is_declaring=True)):
        yield


@contextmanager
def handling_batch(
    spark: SparkSession,  # The update's session
) -> Iterator[None]:
    "Mark the running of a sink's handler."
    with _outside_datasets(spark, Evaluation(None)):
        yield


@contextmanager
def _outside_datasets(spark: SparkSession, evaluation: Evaluation) -> Iterator[None]:
    with keep_expression_views(spark, evaluation), evaluating(evaluation):
        yield


def evaluated_flow() -> Flow | None:  # None while source files declare, and while our own code runs
    "Tell which flow's query is being evaluated."
    evaluation = current_evaluation.get()
    return evaluation.flow if evaluation is not None else None
