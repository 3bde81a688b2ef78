"""A materialized view is computed anew in one commit, unless it would come out the same."""

import json
import re
from hashlib import sha256
from pathlib import Path

from pyspark.sql import DataFrame

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.delta.log import find_local_table, read_change_version
from cdc_local.delta.writer import overwrite_table
from cdc_local.engines.engine import engine_of
from cdc_local.errors import UsageError
from cdc_local.storage import read_json, write_json
from cdc_local.update.completed_rows import complete_all_rows
from cdc_local.update.counters import Counters, batch_counters, stream_counters
from cdc_local.update.flow_strategy import QueryFlow
from cdc_local.update.streams import Run


class MaterializedViewFlow(QueryFlow):
    "Computes a materialized view from all its rows."

    def write_frame(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # Its rows, a batch
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Compute a materialized view anew, in one commit; not where it would come out the same."
        dataset, storage = run.runtime.graph.datasets[flow.target], run.runtime.storage
        frame, path = complete_all_rows(frame, dataset), storage.table_path(flow.target)
        note = storage.flow_path(flow.target, flow.name) / "computed.json"
        fingerprint = fingerprint_query(frame, dataset)
        plan = "NO_OP" if is_unchanged(note, path, fingerprint) else "COMPLETE_RECOMPUTE"
        run.log.record(
            "planning_information",
            f"Flow {flow.name} has been planned to be executed as {plan}.",
            flow_name=flow.name,
            dataset_name=str(flow.target),
        )
        if plan == "NO_OP":
            return stream_counters(evaluation, [])
        overwrite_table(frame, path, list(dataset.partition_cols), list(dataset.cluster_by))
        keep_fingerprint(note, path, fingerprint)
        return batch_counters(run.runtime.spark, evaluation)


def describe_query(
    frame: DataFrame,  # A batch
) -> list[str] | None:  # Its text, and each Delta table's id and version; None where it depends on more
    "Describe all that a query's result depends on."
    found = engine_of(frame.sparkSession).describe_query(frame)
    if found is None:
        return None
    text, snapshots = found
    folders = [find_local_table(path) for path, _ in snapshots]
    if None in folders:
        return None
    inputs = zip(folders, (words for _, words in snapshots), strict=True)
    return [text, *[_describe_input(folder, words) for folder, words in inputs if folder is not None]]


def _describe_input(
    folder: Path,  # Of a Delta table
    files: str,  # What the engine says of the files that a query reads: their version, and more
) -> str:  # The same for versions that differ in nothing but which files rows are in
    "Say which table a query reads, and how it was."

    def changed(version: re.Match[str]) -> str:
        return f"version={read_change_version(folder, int(version[1]))[1]}"

    return f"{read_change_version(folder)[0]} {re.sub('version=([0-9]+)', changed, files, count=1)}"


def fingerprint_query(
    frame: DataFrame,  # The rows of a materialized view, not computed yet
    dataset: Dataset,  # Its declaration
) -> str | None:  # The same as long as computing it anew would give the same; None where that is not certain
    "A hash of all that a materialized view depends on."
    query = describe_query(frame)
    if query is None:
        return None
    settings = {
        key: value
        for key, value in frame.sparkSession.conf.getAll.items()
        if key.startswith("spark.sql.") and key != "spark.sql.warehouse.dir"
    }
    rules = [(rule.name, str(rule.constraint), rule.action) for rule in dataset.expectations]
    parts = [
        query,
        rules,
        dataset.partition_cols,
        dataset.cluster_by,
        sorted(settings.items()),
    ]
    return sha256(json.dumps(parts, default=str).encode()).hexdigest()


def is_unchanged(
    note: Path,  # Where `keep_fingerprint` wrote
    path: Path,  # The materialized view's table
    fingerprint: str | None,  # Its fingerprint now
) -> bool:  # Whether the table already holds what computing it would give
    "Tell that a materialized view need not be computed."
    if fingerprint is None:
        return False
    try:
        noted = read_json(note)
    except UsageError:  # a damaged note is no note: the view is computed, and the note written anew
        return False
    return bool(noted == {"fingerprint": fingerprint, "table": list(read_change_version(path))})


def keep_fingerprint(
    note: Path,  # A file of the flow
    path: Path,  # The materialized view's table, just written
    fingerprint: str | None,  # Its fingerprint
) -> None:
    "Note what a materialized view was computed from."
    write_json(note, {"fingerprint": fingerprint, "table": list(read_change_version(path))})
