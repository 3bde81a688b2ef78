"""The part of a pipeline that a test is about: its datasets, and what lies between them and what is given."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.flow_analysis import table_schema
from cdc_local.analysis.inputs import UpdateInputs
from cdc_local.analysis.runtime import Runtime, evaluate
from cdc_local.autoloader.files import fixed_folder
from cdc_local.dataflow.graph import Dataset, Flow, Graph
from cdc_local.errors import Location, NeedsSparkError, PipelineError
from cdc_local.storage import Storage, TableName
from cdc_local.unit_tests.nodes import UnitTestError, suggest


@dataclass(kw_only=True)
class LandingFolders(UpdateInputs):
    "What an update reads, where folders of volumes in which nothing has landed are empty, and there."

    storage: Storage  # Of the test

    def add_paths(
        self,
        value: Any,  # An argument of a reader: a path, a list of paths
    ) -> None:
        "Note paths, and make the folders that are not there."
        super().add_paths(value)
        for path in self.paths:
            folder = Path(fixed_folder(path))
            if folder.suffix:
                folder = folder.parent
            if folder.is_relative_to(self.storage.root):
                folder.mkdir(parents=True, exist_ok=True)


def find_dataset(
    graph: Graph,  # The pipeline
    model: str,  # Name of a dataset, or of the source file that declares it
    declaring: str | None,  # The function that declares it
    folder: Path,  # Where the file's name begins
    location: Location | None,  # Where the test stands
) -> TableName:
    "Find the dataset that a test is about; `UnitTestError` names those that there are."
    if model.endswith((".py", ".sql", ".ipynb")):
        return _find_declared(graph, folder / model, declaring, location)
    name = graph.name(model)
    if name not in graph.datasets:
        known = [dataset.table for dataset in graph.datasets]
        raise UnitTestError(f"no dataset {model} in this pipeline", location, suggest(model, known))
    if graph.datasets[name].kind == "sink":
        raise UnitTestError(
            f"{model} is a sink, which keeps no rows", location, "test the table that feeds it"
        )
    return name


def _find_declared(
    graph: Graph,  # The pipeline
    path: Path,  # A source file
    declaring: str | None,  # The function that declares the dataset
    location: Location | None,  # Where the test stands
) -> TableName:
    "Find the dataset that a file declares."
    declared = {
        dataset.name: getattr(dataset.query, "__name__", None)
        for dataset in graph.datasets.values()
        if dataset.location is not None and _is_in(dataset.location, path)
    }
    wanted = declaring or path.stem
    found = [name for name, function in declared.items() if wanted in (name.table, function)]
    if len(found) != 1 and len(declared) == 1 and declaring is None:
        found = list(declared)
    if len(found) == 1:
        return found[0]
    names = [name.table for name in declared]
    message = f"{path.name} declares no dataset {wanted}" if names else f"{path.name} declares no dataset"
    raise UnitTestError(message, location, f"name the dataset itself: model: {' or '.join(names) or '…'}")


def _is_in(
    location: Location,  # Where a dataset is declared
    path: Path,  # A source file
) -> bool:
    "Whether a line is of this file; a notebook's cell is named after its file."
    return Path(location.file.partition(" cell ")[0]).resolve() == path.resolve()


def find_columns(
    runtime: Runtime,  # Declared
    name: TableName,  # A table or a view of the pipeline, or of another one
) -> StructType | None:  # None where they are not known without data
    "Find the columns that the pipeline gives a dataset, as if it were computed."
    dataset = runtime.graph.datasets.get(name)
    if dataset is None or dataset.kind == "sink":
        return None
    try:
        return _evaluate_view(runtime, dataset)[0] if dataset.kind == "view" else table_schema(runtime, name)
    except NeedsSparkError as need:
        message = f"the columns of {name}, which a test gives: {need.message} (`schema:` says them, too)"
        raise NeedsSparkError(message, need.location) from None
    except PipelineError:  # its own sources are not there, and need not be
        return None


def _evaluate_view(
    runtime: Runtime,  # Declared
    dataset: Dataset,  # A view
) -> tuple[StructType, set[TableName]]:  # Its columns, what it reads
    "Evaluate a view without data."
    evaluation = Evaluation(Flow(str(dataset.name), dataset.name, "view"), views=[dataset.name])
    return evaluate(runtime, evaluation, dataset).schema, evaluation.reads


def forget_analysis(
    runtime: Runtime,  # Analysed in part
    warnings: Sequence[str],  # Those that there were before
) -> None:
    "Let a pipeline be as it was declared, after columns of given tables were looked up."
    for found in (
        runtime.analysed,
        runtime.source_columns,
        runtime.schemas,
        runtime.view_reads,
        runtime.snapshot_answers,
        runtime.unknown,
    ):
        found.clear()
    vars(runtime).pop("catalog", None)  # which is looked up once, and given tables are stored since
    runtime.graph.warnings[:] = warnings


def cut_out(
    runtime: Runtime,  # Declared; its graph is cut
    datasets: Sequence[TableName],  # What a test is about; all that the pipeline declares where it is empty
    given: Collection[TableName],  # Tables whose rows are given, and stored
) -> None:
    """Leave of a pipeline the datasets that a test is about and what lies between them and what is given.

    `PipelineError` for a mistake in that part. A view that a test is about becomes a table, so that it keeps
    its rows.
    """
    graph = runtime.graph
    graph.datasets = {name: dataset for name, dataset in graph.datasets.items() if name not in given}
    graph.flows = {name: flow for name, flow in graph.flows.items() if flow.target not in given}
    for name in datasets:
        if graph.datasets[name].kind == "view":
            _store_view(graph, graph.datasets[name])
        table_schema(runtime, name)
    if not datasets:
        return
    reads = set().union(*[evaluation.reads for evaluation in runtime.analysed.values()])
    kept = reads | set(datasets)
    graph.datasets = {name: dataset for name, dataset in graph.datasets.items() if name in kept}
    graph.flows = {name: flow for name, flow in graph.flows.items() if name in runtime.analysed}


def _store_view(
    graph: Graph,  # Takes a flow
    view: Dataset,  # A view
) -> None:
    "Make a table of a view."
    graph.datasets[view.name] = replace(view, kind="table")
    graph.flows[str(view.name)] = Flow(
        str(view.name), view.name, "table", view.query, scope=view.scope, location=view.location
    )


def analyse_apart(
    runtime: Runtime,  # Declared
    names: Collection[TableName],  # Datasets
) -> dict[TableName, StructType]:  # Columns of those that are known
    "Find the columns of datasets, and leave no trace of that in the update."
    inputs, keeps_schemas, warnings = (
        runtime.update_inputs,
        runtime.keep_schemas,
        list(runtime.graph.warnings),
    )
    runtime.update_inputs, runtime.keep_schemas = LandingFolders(storage=runtime.storage), False
    try:
        found = {name: find_columns(runtime, name) for name in names}
    finally:
        runtime.update_inputs, runtime.keep_schemas = inputs, keeps_schemas
        forget_analysis(runtime, warnings)
    return {name: columns for name, columns in found.items() if columns is not None}
