"""Where a flow takes its snapshots from."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal, localcontext
from functools import partial
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.analysis.evaluation import Evaluation, evaluating, keep_expression_views
from cdc_local.analysis.runtime import Runtime, read_stored
from cdc_local.auto_cdc.target import computed_columns, may_be_emptied
from cdc_local.dataflow.graph import Flow, Query
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import to_pipeline_error
from cdc_local.storage import Storage, is_table, read_json
from cdc_utils import snapshots
from cdc_utils.events import DELETED, SEQUENCE, exact_column
from cdc_utils.scd2 import END_AT, START_AT


def next_snapshot(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow whose source is a function
    latest: Any,  # The latest version that was taken, or None
    evaluation: Evaluation,  # Takes the reads
) -> Any:  # The next snapshot and its version, None where there is none, or what else it returned
    "Ask a source of snapshots as Lakeflow would."
    known = runtime.snapshot_answers.pop(flow.name, None)
    if known is not None and known[0] == latest:
        return known[1]
    return ask_source(runtime, flow, evaluation, partial(flow.snapshot_function, latest))


def ask_source(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow whose source is a function
    evaluation: Evaluation,  # Takes the reads
    question: Query,  # What is asked
) -> Any:  # What it returned
    "Run what a source of snapshots has of its author's code, which may act."
    asked = replace(evaluation, flow=None)
    try:
        with (
            runtime.lock,
            keep_expression_views(runtime.spark, asked),
            evaluating(asked),
            runtime.graph.within(flow.scope),
        ):
            return question()
    except Exception as error:
        wrong = to_pipeline_error(error, runtime.sources)
        wrong.location = wrong.location or flow.location
        raise wrong from None


def version_note(
    storage: Storage,  # Of the pipeline
    flow: Flow,  # A flow from snapshots
) -> Path:  # A JSON file: the version, as text, and its type
    "Where a flow notes the latest snapshot that it has taken."
    return storage.flow_path(flow.target, flow.name) / "version.json"


def latest_version(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow from snapshots
) -> Any:  # The latest version that was taken; None before the first
    "How far a table fed by snapshots is: what was noted, or a commit made before it could be noted."
    path = runtime.storage.table_path(flow.target)
    if not is_table(path):
        return None
    kept = read_json(version_note(runtime.storage, flow)) or {"version": None, "type": "void"}
    noted = F.lit(kept["version"]).cast(kept["type"])
    with evaluating(None):
        if may_be_emptied(DeltaTable(str(path))):
            # Its sequences are those of changes, too; and a snapshot that comes again changes nothing
            newest = runtime.spark.range(1).select(noted).first()
        else:
            stored = runtime.spark.read.format("delta").load(str(path))
            newest = stored.agg(F.greatest(F.max(SEQUENCE), noted)).first()
    return newest[0] if newest is not None else None


def stored_source_columns(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow from snapshots that has no newer one
) -> DataFrame:  # The columns of its changes, taken from the stored table
    "What a flow from snapshots brought before; `PipelineError` before its first snapshot."
    path = runtime.storage.table_path(flow.target)
    if not is_table(path):
        raise PipelineError(
            f"{flow.target} has no snapshot yet: {flow.cdc_spec.source} returned None",
            flow.location,
            "its columns come from a snapshot; run the pipeline when there is one",
        )
    columns, left_out = read_stored(runtime.spark, path).columns, {START_AT, END_AT, *computed_columns(path)}
    shown = [exact_column(name) for name in columns if name not in left_out]
    hidden = [F.col(SEQUENCE).alias(snapshots.VERSION), F.col(DELETED).alias(snapshots.ABSENT)]
    return runtime.spark.read.format("delta").load(str(path)).select(*shown, *hidden)


def current_snapshot(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow whose source is a table or view
    evaluation: Evaluation,  # Takes the reads
) -> DataFrame:  # Its rows
    "Read the table of which a snapshot is taken."
    with runtime.lock, evaluating(evaluation), runtime.graph.within(flow.scope):
        return runtime.read_table(flow.cdc_spec.source, False)


def snapshot_columns(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow from snapshots
    evaluation: Evaluation,  # Takes the reads
) -> DataFrame:  # No rows; the columns of its changes
    "What a flow from snapshots brings, without data."
    version: Any
    if flow.snapshots is None:
        snapshot, version = current_snapshot(runtime, flow, evaluation), datetime.now()
    elif flow.snapshots_without_rows is not None:
        found = ask_source(runtime, flow, evaluation, flow.snapshots_without_rows)
        snapshot, kind, query = found
        runtime.note_unknown(flow.name, query)
        version = F.lit(None).cast(kind)
    else:
        latest = latest_version(runtime, flow)
        answer = next_snapshot(runtime, flow, latest, evaluation)
        if answer is None:
            return stored_source_columns(runtime, flow)
        if not evaluation.reads:
            runtime.snapshot_answers[flow.name] = latest, answer
        try:
            snapshot, version = next(snapshots.pending(lambda _: answer))
        except ValueError as wrong:
            raise PipelineError(f"{flow.target}: {wrong}", flow.location) from None
    return snapshots.changes(snapshot, snapshot, flow.cdc_spec.keys, version)


# Types of whole numbers -> their bits
_WHOLE: dict[type[DataType], int] = {ByteType: 8, ShortType: 16, IntegerType: 32, LongType: 64}
# Types that one order has: a version of the one can be compared with a sequence of the other
_ORDERED_TOGETHER: tuple[tuple[type[DataType], ...], ...] = (
    (*_WHOLE, DecimalType),
    (DoubleType,),
    (StringType,),
    (TimestampType, TimestampNTZType),
    (DateType,),
)


def order_among_changes(
    flow: Flow,  # A flow from snapshots, beside flows of changes
    frame: DataFrame,  # Its columns
    sequence: DataType,  # Type of the changes' sequence
) -> DataFrame:  # The same, with a version of that type
    "Give versions the type of what they are compared with; `PipelineError` where no order has both."
    version = frame.schema[snapshots.VERSION].dataType
    if not any(isinstance(version, kinds) and isinstance(sequence, kinds) for kinds in _ORDERED_TOGETHER):
        raise PipelineError(
            f"flow {flow.name} has versions of type {version.simpleString()}, and the changes that "
            f"{flow.target} gets beside them a sequence of type {sequence.simpleString()}: nothing says "
            "which is newer",
            flow.location,
            "take both from one order: the position in the database's log, or the time of the commit",
        )
    columns = [exact_column(name) for name in frame.columns if name != snapshots.VERSION]
    return frame.select(*columns, F.col(snapshots.VERSION).cast(sequence).alias(snapshots.VERSION))


def version_among_sequences(
    version: Any,  # Of a snapshot
    columns: StructType,  # Columns of the flow, as `order_among_changes` has them
) -> Column:
    "A version as a sequence; `ValueError` for one that the sequence's type cannot hold."
    kind = columns[snapshots.VERSION].dataType
    if isinstance(version, int | Decimal) and not _holds(kind, version):
        raise ValueError(
            f"the version {version!r} is no {kind.simpleString()}, as the sequence of changes is"
        )
    return snapshots.version_column(version).cast(kind)


def _holds(
    kind: DataType,  # Type of a sequence
    version: int | Decimal,  # A version
) -> bool:
    "Whether a type has this very number."
    with localcontext(prec=100):
        if isinstance(kind, DecimalType):
            scaled = Decimal(version).scaleb(kind.scale)
            return scaled == scaled.to_integral_value() and abs(scaled) < Decimal(10) ** kind.precision
        bits = _WHOLE[type(kind)]
        return version == int(version) and -(2 ** (bits - 1)) <= version < 2 ** (bits - 1)
