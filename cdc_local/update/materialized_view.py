"""A materialized view is computed anew in one commit, unless it would come out the same."""

import json
from hashlib import sha256
from pathlib import Path

from py4j.java_gateway import is_instance_of
from pyspark.sql import DataFrame

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.delta.log import find_local_table, read_table_version
from cdc_local.delta.writer import overwrite_table
from cdc_local.engines.spark.catalyst import OPEN_PATTERNS, leaf_nodes, query_text
from cdc_local.storage import read_json, write_json
from cdc_local.update.counters import batch_counters, stream_counters
from cdc_local.update.streams import Run


def query_inputs(
    frame: DataFrame,  # A batch
) -> (
    list[str] | None
):  # Id, version and path of each Delta table; None where the result depends on more than these
    "All that a query's result depends on besides its text."
    jvm, gateway = frame.sparkSession._jvm, frame.sparkSession.sparkContext._gateway
    plan, patterns, found = (
        frame._jdf.queryExecution().analyzed(),
        jvm.org.apache.spark.sql.catalyst.trees.TreePattern,
        [],
    )
    if not plan.deterministic() or any(
        plan.containsPattern(getattr(patterns, name)()) for name in OPEN_PATTERNS
    ):
        return None
    for leaf in leaf_nodes(frame):
        if leaf.nodeName() != "LogicalRelation":
            return None
        if not is_instance_of(
            gateway, leaf.relation(), "org.apache.spark.sql.execution.datasources.HadoopFsRelation"
        ):
            return None
        files = leaf.relation().location()
        if files.getClass().getSimpleName() != "TahoeLogFileIndex":
            return None
        folder = find_local_table(files.path().toString())
        if folder is None:
            return None
        found.append(f"{read_table_version(folder)[0]} {files.toString()}")
    return found


def fingerprint_query(
    frame: DataFrame,  # The rows of a materialized view, not computed yet
    dataset: Dataset,  # Its declaration
) -> str | None:  # The same as long as computing it anew would give the same; None where that can't be told
    "A hash of all that a materialized view depends on."
    read = query_inputs(frame)
    if read is None:
        return None
    settings = {
        key: value
        for key, value in frame.sparkSession.conf.getAll.items()
        if key.startswith("spark.sql.") and key != "spark.sql.warehouse.dir"
    }
    rules = [(rule.name, str(rule.constraint), rule.action) for rule in dataset.expectations]
    parts = [
        query_text(frame),
        read,
        rules,
        dataset.partition_cols,
        dataset.cluster_by,
        sorted(settings.items()),
    ]
    return sha256(json.dumps(parts, default=str).encode()).hexdigest()


def is_unchanged(
    note: Path,  # Where `keep` wrote
    path: Path,  # The materialized view's table
    mark: str | None,  # Its fingerprint now
) -> bool:  # Whether the table already holds what computing it would give
    "Tell that a materialized view need not be computed."
    return mark is not None and read_json(note) == {
        "fingerprint": mark,
        "table": list(read_table_version(path)),
    }


def keep_fingerprint(
    note: Path,  # A file of the flow
    path: Path,  # The materialized view's table, just written
    mark: str | None,  # Its fingerprint
) -> None:
    "Note what a materialized view was computed from."
    write_json(note, {"fingerprint": mark, "table": list(read_table_version(path))})


def refresh_materialized_view(
    run: Run,  # The update
    flow: Flow,  # A flow of kind 'complete'
    frame: DataFrame,  # Its rows
    evaluation: Evaluation,  # Its counters
) -> dict:  # Observed counters by dataset
    "Compute a materialized view anew, in one commit; not where it would come out the same."
    dataset, storage = run.runtime.graph.datasets[flow.target], run.runtime.storage
    path, note, mark = (
        storage.table_path(flow.target),
        storage.flow_path(flow.target, flow.name) / "computed.json",
        fingerprint_query(frame, dataset),
    )
    no_op = is_unchanged(note, path, mark)
    run.log.record(
        "planning_information",
        f"Flow {flow.name} has been planned to be executed as {'NO_OP' if no_op else 'COMPLETE_RECOMPUTE'}.",
        flow_name=flow.name,
        dataset_name=str(flow.target),
    )
    if no_op:
        return stream_counters(evaluation, [])
    overwrite_table(frame, path, dataset.partition_cols, dataset.cluster_by)
    keep_fingerprint(note, path, mark)
    return batch_counters(run.runtime.spark, evaluation)
