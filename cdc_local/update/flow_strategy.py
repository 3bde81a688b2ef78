"""What every kind of flow can do: the base of the classes in `append_flow.py` and its neighbours."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from deltalake import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.flow_analysis import flow_frame
from cdc_local.analysis.runtime import Runtime, with_expectations
from cdc_local.dataflow.expectations import find_violation
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.dataflow.table_schema import TableSchema, with_declared_rules
from cdc_local.delta.writer import create_table
from cdc_local.engines.sail.counted_frame import CountedFrame
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import describe_exception
from cdc_local.storage import is_table, remove_empty_log
from cdc_local.update.counters import Counters
from cdc_local.update.streams import Run


class FlowStrategy(ABC):
    "How flows of one kind bring their target up to date; it keeps nothing, so one object serves all flows."

    def create_target(
        self,
        runtime: Runtime,  # Analysed
        dataset: Dataset,  # The flow's target, a streaming table or materialized view
        flow: Flow,  # One of its flows
    ) -> None:
        "Create a table that is missing, so that its readers find it even when it stays empty."
        path = runtime.storage.table_path(dataset.name)
        if is_table(path):
            _refuse_other_columns(dataset, path)
            return
        remove_empty_log(path)
        try:
            create_table(
                runtime.spark,
                path,
                runtime.schemas[dataset.name],
                dataset.comment,
                dataset.table_properties,
                list(dataset.partition_cols),
                list(dataset.cluster_by),
            )
        except AnalysisException as wrong:
            raise PipelineError(f"{dataset.name}: {describe_exception(wrong)}", dataset.location) from None

    def incoming_columns(
        self,
        runtime: Runtime,  # Analysed
        flow: Flow,  # A flow into a streaming table
    ) -> StructType:
        "The columns whose values the stored table must be able to keep."
        return runtime.schemas[flow.target]

    def rules_for(
        self,
        dataset: Dataset,  # The flow's target
        flow: Flow,  # The flow
        columns: Sequence[str],  # Columns that it brings
    ) -> Dataset:  # The target with the rules as they apply to this flow's rows
        "The rules that the flow's rows must keep: those of its target, and those of its declared columns."
        return with_declared_rules(dataset, columns)

    def idle_counters(self) -> Counters:  # As if a batch without rows had come
        "What a flow counts, besides its rules, where there was nothing to do."
        return {}

    @abstractmethod
    def write(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow whose sources are up to date
    ) -> Counters:  # What was observed
        "Bring the flow's target up to date."


def _refuse_other_columns(
    dataset: Dataset,  # A table that is stored
    path: Path,  # Its folder
) -> None:
    "`PipelineError` where a streaming table computed a column otherwise until now: its rows stay."
    if dataset.kind != "streaming_table" or not isinstance(dataset.schema, TableSchema):
        return
    stored = DeltaTable(str(path)).metadata().configuration
    for kind in ("generated", "identity"):
        for column in dataset.schema.columns_with(kind):
            key = f"cdc.{kind}.{column.name}"
            before, now = stored.get(key), str(dataset.table_properties.get(key))
            if before != now:
                raise PipelineError(
                    f"{dataset.name}: column {column.name} is declared as {now} now, "
                    f"and its rows were computed {f'as {before}' if before else 'without'}",
                    dataset.location,
                    f"compute it anew: cdc run … --full-refresh {dataset.name.table}",
                )


def refuse_violations(
    flow: Flow,  # The flow
    evaluation: Evaluation,  # Its rules, and the rows that they look at
) -> None:
    "`PipelineError` where a row breaks a rule that fails the update; Spark's queries fail by themselves."
    for name, counted in evaluation.observed.items():
        rules = evaluation.rules[name]
        if not isinstance(counted, CountedFrame) or all(rule.action != "fail" for rule in rules):
            continue
        violation = find_violation(counted, rules)
        if violation is not None:
            raise PipelineError(f"{flow.target}: {violation}", flow.location)


class QueryFlow(FlowStrategy):
    "A flow whose rows come from one frame: its query's, or that of the source of its events."

    def write(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow whose sources are up to date
    ) -> Counters:  # What was observed
        "Evaluate a flow, apply its target's rules, write what they let pass."
        frame, evaluation = flow_frame(run.runtime, flow)
        dataset = run.runtime.graph.datasets[flow.target]
        frame = with_expectations(self.rules_for(dataset, flow, frame.columns), frame, evaluation)
        refuse_violations(flow, evaluation)
        return self.write_frame(run, flow, frame, evaluation)

    @abstractmethod
    def write_frame(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # Its rows that the rules let pass, a stream or a batch
        evaluation: Evaluation,  # Its counters
    ) -> Counters:  # What was observed
        "Write a flow's rows to its target."
