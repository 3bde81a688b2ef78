"""Deliveries of a feed: the same events in another order, in other batches and with copies, each played into
a storage of its own."""

import csv
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any, TypeAlias

from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.operations.prove_feeds import RAW_LINE, Event
from cdc_local.operations.prove_survey import Input, Survey, flows_behind
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

if TYPE_CHECKING:
    import pyarrow as pa

_PROBE_PREFIX = "__proof_"  # Starts the name of a probe's table

Batch: TypeAlias = list[Event]  # Events that arrive before one update
Delivery: TypeAlias = list[Batch]


@dataclass
class Trial:
    "What every delivery of a proof shares."

    request: UpdateRequest  # The pipeline
    survey: Survey  # What it declares
    inputs: list[Input]  # Its inputs
    flows: list[Flow]  # Its AUTO CDC flows that are tried
    folder: Path  # A temporary folder
    report: Callable[[str], None]  # Receives a line for every update
    updates: int = 0  # How many were run
    positions: dict[Event, int] = field(default_factory=dict)  # Event -> its position in the feed

    def probe_names(self) -> dict[str, str]:
        "Source name -> name of its probe."
        sources = sorted({self.source_name(flow) for flow in self.flows})
        return {name: f"{_PROBE_PREFIX}{number}" for number, name in enumerate(sources)}

    def source_name(
        self,
        flow: Flow,  # An AUTO CDC flow
    ) -> str:  # The name by which any file of the pipeline reads it
        "The source of a flow: as written, and in full where `USE` has changed what that means."
        text = str(flow.cdc_spec.source)
        if flow.scope in (None, (self.request.catalog, self.request.schema)):
            return text
        graph = self.survey.graph
        with graph.within(flow.scope):
            dataset = graph.find_dataset(text)
            return text if dataset is not None and dataset.is_temporary_view else str(graph.name(text))

    def keys_of(self, target: TableName) -> Sequence[str]:
        "Key columns of a target."
        return next(flow.cdc_spec.keys for flow in self.flows if flow.target == target)


def make_deliveries(
    events: list[Event],  # In order
    runs: int,  # Of each manner
    draw: random.Random,  # Source of chance
) -> dict[str, list[Delivery]]:  # Law -> deliveries
    "Deliver the same events in other manners."

    def cut(rows: list[Event], parts: int) -> Delivery:
        cuts = sorted(draw.sample(range(1, len(rows)), min(parts, len(rows)) - 1))
        return [rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]

    def shuffled(rows: list[Event]) -> list[Event]:
        return draw.sample(rows, len(rows))

    def repeated() -> list[Event]:
        return shuffled(events + draw.sample(events, max(1, len(events) * 15 // 100)))

    return {
        "order": [[shuffled(events)] for _ in range(runs)],
        "batches": [cut(shuffled(events), draw.randint(2, 8)) for _ in range(runs)],
        "repeats": [cut(repeated(), 2) for _ in range(runs)],
    }


def play_delivery(
    trial: Trial,  # The pipeline
    delivery: Delivery,  # Batches of events
) -> Storage:  # A storage of its own, with the tables as they are after the last update
    "Run the pipeline over a delivery in a new storage; `PipelineError` if an update fails."
    storage = _new_storage(trial)
    tables = {str(trial.survey.graph.flows[name].target) for name in _tried_flows(trial)}
    tables |= {
        f"{trial.request.catalog}.{trial.request.schema}.{probe}" for probe in trial.probe_names().values()
    }
    request = replace(
        trial.request,
        sources=(*trial.request.sources, str(trial.folder / "probes" / "probes.py")),
        storage=storage.root,
        refresh=tuple(sorted(tables)),
    )
    for number, batch in enumerate(delivery, 1):
        land_batch(storage, trial.inputs, batch, f"{number:03}")
        trial.updates += 1
        trial.report(f"update {trial.updates}: {len(batch)} events, batch {number} of {len(delivery)}")
        result = run_update(request)
        if result.state != "COMPLETED":
            raise PipelineError(
                f"the pipeline failed on a generated feed: {result.error}",
                hint="--feed DIR takes files of your own",
            )
    return storage


def _tried_flows(
    trial: Trial,  # The pipeline
) -> set[str]:  # Names of the flows that are tried and of all behind them
    "Find the flows that a delivery runs."
    return {name for flow in trial.flows for name in flows_behind(trial.survey, flow.name)}


def _new_storage(
    trial: Trial,  # The pipeline
) -> Storage:
    """Make a storage with the tables that the pipeline looks things up in, and those that it streams from,
    these without rows."""
    from deltalake import DeltaTable

    storage = Storage(Path(tempfile.mkdtemp(dir=trial.folder))).create()
    for name, path in trial.survey.tables.items():
        copytree(path, storage.table_path(name))
    for source in trial.inputs:
        if source.file_format == "table":
            name = TableName.parse(source.location, "", "")
            stored = Storage(trial.request.storage).table_path(name)
            DeltaTable.create(str(storage.table_path(name)), DeltaTable(str(stored)).schema())
    return storage


def write_probes(
    trial: Trial,  # The pipeline
) -> None:
    "Write the source file of the probes: streaming tables that keep what came out of each source."
    lines = ["from pyspark import pipelines as dp"]
    for name, probe in trial.probe_names().items():
        lines += [
            f"@dp.table(name={probe!r})",
            f"def {probe.strip('_')}(): return spark.readStream.table({name!r})",
        ]
    (trial.folder / "probes").mkdir()
    (trial.folder / "probes" / "probes.py").write_text("\n".join(lines) + "\n")


# --- how a batch arrives ------------------------------------------------------------------------------------


def land_batch(
    storage: Storage,  # Where
    inputs: list[Input],  # The inputs
    batch: Batch,  # What arrives
    name: str,  # Of the file, unique in the storage
) -> None:
    "Let a batch arrive: one file, or one commit, an input."
    for number, source in enumerate(inputs):
        rows = [dict(event.row) for event in batch if event.input_number == number]
        if source.file_format == "table":
            _append_rows(storage.table_path(TableName.parse(source.location, "", "")), rows)
            continue
        folder = storage.root / source.location
        folder.mkdir(parents=True, exist_ok=True)
        if rows:
            (folder / f"{name}.{source.file_format}").write_text(format_rows(rows, source))


def _append_rows(
    path: Path,  # A Delta table's folder
    rows: list[dict[str, Any]],  # Values as text or numbers
) -> None:
    "Append rows to a Delta table, in one commit."
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    if rows:
        schema = pa.schema(DeltaTable(str(path)).schema().to_arrow())
        write_deltalake(str(path), to_arrow_table(rows, schema), mode="append")


def to_arrow_table(
    rows: list[dict[str, Any]],  # Values as text or numbers
    schema: "pa.Schema",  # Of the Delta table
) -> "pa.Table":
    "Type rows for a Delta table; Arrow reads the text of moments."
    import pyarrow as pa

    def column(field: "pa.Field") -> "pa.Array":
        values = [
            None if row.get(field.name) is None else str(row[field.name]).replace(".000Z", "") for row in rows
        ]
        texts = pa.array(values, pa.string())
        if not pa.types.is_timestamp(field.type):
            return texts.cast(field.type)
        moments = texts.cast(pa.timestamp("us"))
        return moments.cast(field.type) if field.type.tz is None else moments.cast("int64").cast(field.type)

    return pa.table([column(field) for field in schema], schema=schema)


def format_rows(
    rows: list[dict[str, Any]],  # Values by column
    source: Input,  # With the format and its options
) -> str:
    "Write rows as the input's format has them."
    if source.file_format == "json":
        return "".join((row[RAW_LINE] if RAW_LINE in row else json.dumps(row)) + "\n" for row in rows)
    options, text = dict(source.options), StringIO()
    writer = csv.DictWriter(
        text,
        source.schema.names,
        delimiter=options.get("sep", options.get("delimiter", ",")),
        lineterminator="\n",
        extrasaction="ignore",
    )
    if options.get("header", "false").lower() == "true":
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
