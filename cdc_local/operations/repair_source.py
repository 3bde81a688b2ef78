"""All of a target's source, read again: with a checkpoint of its own that is thrown away."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyspark.sql import Column, DataFrame

from cdc_local.analysis.flow_analysis import flow_frame
from cdc_local.analysis.runtime import with_expectations
from cdc_local.auto_cdc.target import Target, extract_events
from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName
from cdc_local.update.auto_cdc_flow import let_deletes_pass
from cdc_local.update.scheduler import describe_failure
from cdc_local.update.streams import Run, run_stream
from cdc_utils.events import is_keyless


@dataclass(frozen=True)
class RepairStorage(Storage):
    """The storage of a pipeline, but for the flows' checkpoints and schemas, which a repair keeps in a folder
    of its own."""

    folder: Path = field(kw_only=True)  # The folder of the repair

    def flow_path(self, target: TableName, flow: str) -> Path:
        "Folder of one flow, in the repair's."
        return self.folder / super().flow_path(target, flow).relative_to(self.root)


@contextmanager
def open_repair_storage(
    storage: Storage,  # The pipeline's
    dry_run: bool,  # Leave no trace in it
) -> Iterator[RepairStorage]:  # Over the same tables
    "Make the folder of a repair, with the schemas of all flows; also remove one that a killed repair left."
    if not dry_run:
        for left in storage.state_path.glob("repair-*"):
            shutil.rmtree(left)
        storage.state_path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="repair-", dir=None if dry_run else storage.state_path) as folder:
        for schemas in (storage.root / "checkpoints").glob("*/*/*/*/schemas"):
            shutil.copytree(schemas, Path(folder) / schemas.relative_to(storage.root))
        yield RepairStorage(storage.root, folder=Path(folder))


def read_source_events(
    run: Run,  # Over the storage of the repair
    flow: Flow,  # A flow of the target
    target: Target,  # The target
    condition: Column,  # On keys
) -> DataFrame:  # Its events, as a batch
    "Run one flow over its whole source; `PipelineError` says why a flow failed."
    spark, path = run.runtime.spark, run.runtime.storage.flow_path(flow.target, flow.name) / "events"
    try:
        frame, evaluation = flow_frame(run.runtime, flow)
        dataset = let_deletes_pass(run.runtime.graph.datasets[flow.target], flow)
        frame = with_expectations(dataset, frame, evaluation)
        events = extract_events(frame, target).where(condition | is_keyless(target.keys))
        path.mkdir(parents=True)
        if events.isStreaming:
            run_stream(run, flow, events.writeStream.format("parquet").outputMode("append"), path)
        else:
            events.write.mode("append").parquet(str(path))
    except Exception as error:
        raise PipelineError(describe_failure(flow, error, run.runtime.sources, run)) from error
    return spark.read.schema(events.schema).parquet(str(path))


def persist_rows(
    rows: DataFrame,  # A batch
    path: Path,  # In the folder of the repair
) -> DataFrame:  # The same rows, computed once
    "Compute rows once: what is compared is what is written."
    rows.write.parquet(str(path))
    return rows.sparkSession.read.schema(rows.schema).parquet(str(path))
