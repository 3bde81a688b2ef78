"""What a pipeline declares: datasets, the flows that fill them, and the rules they keep."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.storage import TableName, find_called, spell_as_known, split_name
from cdc_utils.snapshots import ABSENT
from cdc_utils.spec import COLUMN_LISTS, CdcSpec, folded

Query = Callable[..., Any]  # A function of a source file that returns rows, a DataFrame
Scope = tuple[str, str]  # Catalog and schema of names that give none
Action = Literal["warn", "drop", "fail"]  # What happens when a row breaks a rule
# 'table' is what `dp.table` declares, until its query is known to be a stream or a batch; a flow of kind
# 'view' stands for a view that is evaluated by itself
DatasetKind = Literal["streaming_table", "materialized_view", "view", "sink", "table"]
FlowKind = Literal[
    "append", "complete", "auto_cdc", "snapshot", "replace_using", "replace_where", "table", "view"
]
# Flows whose target is a streaming table, or for "append" a sink
_INTO_STREAMING_TABLES = ("append", "auto_cdc", "snapshot", "replace_using", "replace_where")
Language = Literal["python", "sql"]  # Of what declares: a hint is written in the same


@dataclass(frozen=True)
class Expectation:
    """A rule that rows of a dataset keep."""

    name: str  # Unique within its dataset
    constraint: Any  # SQL predicate (or Column) that a valid row satisfies
    action: Action  # What happens when a row breaks it


@dataclass(frozen=True)
class Dataset:
    """A table, view or sink of the pipeline."""

    name: TableName  # Full name
    kind: DatasetKind  # What it is
    query: Query | None = None  # Returns the rows of a view
    comment: str | None = None  # Its description
    schema: Any = None  # Declared columns: `TableSchema`, StructType, or Python's text until it is read
    partition_cols: tuple[str, ...] = ()  # Columns that split the files
    cluster_by: tuple[str, ...] = ()  # Columns to cluster by
    table_properties: dict[str, str] = field(default_factory=dict)  # Delta and pipeline properties
    private: bool = False  # Left out of the catalog, as every temporary view
    is_managed: bool = False  # A streaming table in all but this: its flows append and do nothing else
    expectations: tuple[Expectation, ...] = ()  # Its rules, in the order of their decorators
    sink: dict[str, Any] = field(default_factory=dict)  # A sink's `format`, `options` or `handler`
    language: Language = "python"  # What declared it
    scope: Scope | None = None  # Catalog and schema of one-part names in its query
    location: Location | None = None  # Where it was declared

    @property
    def is_temporary_view(self) -> bool:
        """Whether no catalog has it: a view of this pipeline alone."""
        return self.kind == "view" and self.private


@dataclass(frozen=True)
class Replacement:
    """Which rows of its target the rows of a flow replace: those of their keys, or all in a range."""

    keys: tuple[str, ...] = ()  # Columns; a stored row is replaced by rows that have its values in them …
    sequence_by: Any = None  # … and more of this: SQL or Column
    predicate: Any = None  # Without keys: SQL or Column that is true for the rows to compute anew


@dataclass(frozen=True)
class Flow:
    """A query that fills a dataset."""

    name: str  # Unique within the pipeline
    target: TableName  # The dataset it fills
    kind: FlowKind  # How it fills its target
    query: Query | None = None  # Returns the rows; absent where `spec` names a source
    spec: CdcSpec | None = None  # Of an AUTO CDC flow, from snapshots or not
    replaces: Replacement | None = None  # Of a flow of kind 'replace_using' or 'replace_where'
    snapshots: Query | None = None  # Returns a snapshot and its version; absent where `spec` names a table
    # Returns what `snapshots` would return, and the query of its version, all of them without rows
    snapshots_without_rows: Query | None = None
    where: Any = None  # SQL condition or Column that each event of AUTO CDC satisfies
    declared: Any = None  # Columns that its target declares, once they are read
    once: bool = False  # Runs once, and again on full refresh
    spark_conf: dict[str, str] = field(default_factory=dict)  # Spark settings of this flow
    language: Language = "python"  # What declared it
    scope: Scope | None = None  # Catalog and schema of one-part names in its query
    location: Location | None = None  # Where it was declared

    @property
    def hint_of_changed_source(self) -> str:
        """What to write where rows of a streaming source were changed."""
        if self.language == "sql":
            return "Read it without STREAM, or write FROM STREAM events WITH (SKIPCHANGECOMMITS)"
        return "Read it with spark.read, or set skipChangeCommits on the stream"

    @property
    def cdc_spec(self) -> CdcSpec:
        """What an AUTO CDC flow declares; raises `TypeError` for a flow of another kind."""
        if self.spec is None:
            raise TypeError(f"flow {self.name} is of kind {self.kind} and has no spec")
        return self.spec

    @property
    def replacement(self) -> Replacement:
        """Which rows it replaces; raises `TypeError` for a flow that replaces none."""
        if self.replaces is None:
            raise TypeError(f"flow {self.name} is of kind {self.kind} and replaces no rows")
        return self.replaces

    @property
    def is_from_snapshots(self) -> bool:
        """Whether its source is a series of snapshots, which it compares."""
        return self.kind == "snapshot"

    @property
    def is_beside_events(self) -> bool:
        """Whether changes write to its target, too: then a snapshot restates the table instead."""
        return self.is_from_snapshots and self.cdc_spec.apply_as_truncates is not None

    @property
    def snapshot_function(self) -> Query:
        """The function that returns snapshots; raises `TypeError` for a flow that has none."""
        if self.snapshots is None:
            raise TypeError(f"flow {self.name} is of kind {self.kind} and has no function of snapshots")
        return self.snapshots


class Graph:
    """The datasets and flows that source files declare."""

    def __init__(
        self,
        catalog: str,  # Catalog of names that give none
        schema: str,  # Schema of names that give none
        locate: Callable[[], Location | None] = lambda: None,  # Finds the source line that is declaring
    ) -> None:
        self.catalog, self.schema, self.locate = catalog, schema, locate
        self.datasets: dict[TableName, Dataset] = {}
        self.flows: dict[str, Flow] = {}
        self.warnings: list[str] = []

    def name(
        self,
        text: str,  # A name as the pipeline writes it
    ) -> TableName:
        """Complete a table's name by the catalog and schema of the scope, spelt as it is declared."""
        return self.spell(TableName.parse(text, self.catalog, self.schema))

    def spell(
        self,
        name: TableName,  # A full name as written
    ) -> TableName:
        """Spell a name as its dataset is declared: Unity Catalog tells no case apart."""
        return name if name in self.datasets else spell_as_known(name, self.datasets)

    def find_name(
        self,
        text: str,  # A name as someone types it who runs the pipeline
    ) -> TableName:
        """Find the dataset that a name means: by its full name, else the only one that is called so.

        Raises `UsageError` that lists what there is.
        """
        name = self.name(text)
        found = find_called(text, name, self.datasets)
        if found is not None:
            return found
        tables = sorted(one.table for one in self.datasets)
        near = difflib.get_close_matches(name.table, tables, 1)
        raise UsageError(
            f"no table {text} in this pipeline",
            hint=f"did you mean {near[0]}?" if near else f"it has {', '.join(tables)}",
        )

    def find_dataset(
        self,
        text: str,  # A name as the pipeline writes it
    ) -> Dataset | None:
        """Find the dataset that a name means.

        A temporary view has a name of one part, in all of the pipeline; longer names mean what a catalog has.
        """
        parts, found = split_name(text), self.datasets.get(self.name(text))
        if len(parts) == 1:
            views = [each for each in self.datasets.values() if each.is_temporary_view]
            return next((view for view in views if view.name.table.lower() == parts[0].lower()), found)
        return None if found is not None and found.is_temporary_view else found

    def warn(
        self,
        text: str,  # A sentence for whoever runs the pipeline
    ) -> None:
        """Add a warning, unless it is there already."""
        if text not in self.warnings:
            self.warnings.append(text)

    def add_dataset(self, dataset: Dataset) -> Dataset:
        """Add a dataset in the scope of now; raises `PipelineError` if its name is taken."""
        _refuse_second("dataset", dataset, self.datasets.get(self.spell(dataset.name)))
        added = replace(dataset, scope=dataset.scope or (self.catalog, self.schema))
        self.datasets[dataset.name] = added
        return added

    def add_flow(self, flow: Flow) -> Flow:
        """Add a flow in the scope of now; raises `PipelineError` if its name is taken."""
        _refuse_second("flow", flow, self.flows.get(flow.name))
        added = replace(flow, scope=flow.scope or (self.catalog, self.schema))
        self.flows[flow.name] = added
        return added

    def add_expectations(
        self,
        query: Query,  # A function of a source file
        expectations: tuple[Expectation, ...],  # Rules that come before those it has
    ) -> bool:  # Whether it has declared one
        """Add rules to the dataset that a function has declared, if it has declared one."""
        for dataset in reversed(self.datasets.values()):
            if dataset.query is query:
                rules = expectations + dataset.expectations
                self.datasets[dataset.name] = replace(dataset, expectations=rules)
                return True
        return False

    @contextmanager
    def within(
        self,
        scope: Scope | None,  # Catalog and schema; None leaves them as they are
    ) -> Iterator["Graph"]:
        """Complete names by this catalog and schema, until the block ends.

        `USE` in a source file changes them for the rest of that file.
        """
        before = self.catalog, self.schema
        self.catalog, self.schema = scope or before
        try:
            yield self
        finally:
            self.catalog, self.schema = before


def _refuse_second(
    kind: str,  # 'dataset' or 'flow'
    declared: Dataset | Flow,  # What is declared now
    first: Dataset | Flow | None,  # What has the name already
) -> None:
    """Raise `PipelineError` that names both places, where a name is taken."""
    if first is not None:
        where = f", first at {first.location}" if first.location else ""
        raise PipelineError(
            f"{kind} {declared.name} is declared twice{where}",
            declared.location,
            "rename or remove one of the two",
        )


# What to write, by the language of the file, the kind of the flow, and whether it reads a stream
_HINTS: dict[tuple[Language, str, bool], str] = {
    ("python", "complete", True): "use spark.read, or declare a streaming table",
    ("python", "append", False): "use spark.readStream, or once=True",
    ("python", "append", True): "use spark.read, or leave out once=True",
    ("sql", "complete", True): "leave out STREAM, or write CREATE OR REFRESH STREAMING TABLE",
    (
        "sql",
        "append",
        False,
    ): "write STREAM before what it reads: FROM STREAM read_files(…), FROM STREAM(events)",
    ("sql", "append", True): "leave out STREAM, or ONCE",
    ("python", "replace_using", False): "its source must be a stream: use spark.readStream",
    ("python", "replace_where", True): "its source must be a batch: use spark.read",
    ("sql", "replace_using", False): "its source must be a stream: write STREAM before what it reads",
    ("sql", "replace_where", True): "its source must be a batch: leave out STREAM",
}


def settle_kind(
    graph: Graph,  # Takes the settled flow
    flow: Flow,  # A flow, perhaps of kind 'table'
    streaming: bool,  # Whether its query is a stream
) -> Flow:  # The flow with its kind
    """Decide what `table` meant: a streaming table over a stream, a materialized view over a batch.

    Raises `PipelineError` for a query that is a stream where the kind wants a batch, or the reverse.
    """
    if flow.kind == "table":
        dataset = graph.datasets[flow.target]
        settled_kind: DatasetKind = "streaming_table" if streaming else "materialized_view"
        graph.datasets[flow.target] = replace(dataset, kind=settled_kind)
        flow = replace(flow, kind="append" if streaming else "complete")
        graph.flows[flow.name] = flow
    if flow.kind == "complete" and streaming:
        message = f"materialized view {flow.target} reads a stream"
    elif flow.kind == "append" and not streaming and not flow.once:
        message = f"flow {flow.name} appends a batch"
    elif flow.kind == "append" and streaming and flow.once:
        message = f"flow {flow.name} runs once, but reads a stream"
    elif flow.kind == "replace_using" and not streaming:
        message = f"flow {flow.name} replaces rows by their keys, and reads a batch"
    elif flow.kind == "replace_where" and streaming:
        message = f"flow {flow.name} computes a range anew, and reads a stream"
    else:
        return flow
    raise PipelineError(message, flow.location, _HINTS[flow.language, flow.kind, streaming])


def check_graph(
    graph: Graph,  # After every source file has been read
) -> None:
    """Raise `PipelineError` for what cannot run.

    An empty pipeline, a flow without its target, a table without a flow, AUTO CDC or a flow that replaces
    rows mixed with other flows, snapshots beside changes that cannot be ordered among them, two rules of one
    name.
    """
    if not graph.datasets and not graph.flows:
        raise PipelineError(
            "these source files declare no table, view or sink", hint="is this the right folder?"
        )
    flows_by_target: dict[TableName, list[Flow]] = {}
    for key, flow in graph.flows.items():  # a flow may be declared before its target
        graph.flows[key] = replace(flow, target=graph.spell(flow.target))
    for flow in graph.flows.values():
        _check_target(graph.datasets, flow)
        flows_by_target.setdefault(flow.target, []).append(flow)
    for name, dataset in graph.datasets.items():
        flows = flows_by_target.get(name, [])
        _check_flows(dataset, flows)
        if len(flows) > 1 and any(flow.is_from_snapshots for flow in flows):
            _check_snapshots_beside_events(dataset, flows)
            _restate(graph, flows)
        _check_replacing_flow(dataset, flows)
        _check_rule_names(dataset)


def _restate(
    graph: Graph,  # Takes the flow
    flows: list[Flow],  # All flows into a table that gets snapshots and changes
) -> None:
    """Let snapshots empty the table as of their version, so that they are ordered among its changes."""
    for flow in flows:
        if flow.is_from_snapshots:
            spec = replace(flow.cdc_spec, apply_as_deletes=None, apply_as_truncates=ABSENT)
            graph.flows[flow.name] = replace(flow, spec=spec)


def _check_target(
    datasets: Mapping[TableName, Dataset],  # All that are declared
    flow: Flow,  # A flow
) -> None:
    """Refuse a flow whose target is not declared, or is nothing that a flow of this kind fills."""
    target = datasets.get(flow.target)
    if target is None:
        near = difflib.get_close_matches(flow.target.table, [name.table for name in datasets], 1)
        raise PipelineError(
            f"flow {flow.name} writes to {flow.target}, which is not declared",
            flow.location,
            f"did you mean {near[0]}?" if near else f"add create_streaming_table('{flow.target.table}')",
        )
    if target.kind in ("view", "materialized_view") and flow.kind in _INTO_STREAMING_TABLES:
        raise PipelineError(
            f"flow {flow.name} writes to {flow.target}, a {target.kind}",
            flow.location,
            "its target must be a streaming table or a sink",
        )
    if target.is_managed and flow.kind != "append":
        raise PipelineError(
            f"flow {flow.name} changes rows of {flow.target}, which CREATE TABLE declares as a managed table",
            flow.location,
            "declare it by CREATE OR REFRESH STREAMING TABLE; a managed table takes FLOW INSERT alone",
        )
    if target.kind == "sink" and flow.replaces is not None:
        raise PipelineError(
            f"flow {flow.name} replaces rows of {flow.target}, a sink",
            flow.location,
            "its target must be a streaming table",
        )


def _check_flows(
    dataset: Dataset,  # A dataset
    flows: list[Flow],  # All flows that fill it
) -> None:
    """Refuse a streaming table without a flow, and AUTO CDC beside a flow of another kind."""
    kinds = {flow.kind for flow in flows}
    if dataset.kind == "streaming_table" and not flows:
        raise PipelineError(
            f"streaming table {dataset.name} has no flow",
            dataset.location,
            "add an append_flow or create_auto_cdc_flow, or remove it",
        )
    if "auto_cdc" in kinds and kinds - {"auto_cdc", "snapshot"}:
        raise PipelineError(
            f"{dataset.name} is the target of AUTO CDC and of another flow",
            dataset.location,
            "only AUTO CDC flows may write to it",
        )
    if "snapshot" in kinds and kinds - {"auto_cdc", "snapshot"}:
        raise PipelineError(
            f"{dataset.name} is the target of AUTO CDC FROM SNAPSHOT and of another flow",
            dataset.location,
            "only AUTO CDC flows may write to it",
        )


def _check_snapshots_beside_events(
    dataset: Dataset,  # A target of AUTO CDC flows
    flows: list[Flow],  # All of them
) -> None:
    """Refuse what Databricks refuses where snapshots and changes write to one table."""
    first, *more = (flow for flow in flows if flow.is_from_snapshots)
    if more:
        raise PipelineError(
            f"flow {more[0].name} is the second flow from snapshots into {dataset.name}",
            more[0].location,
            "one flow from snapshots may write to a table; give the other its own table",
        )
    beside = f"and {dataset.name} gets both snapshots and changes"
    if first.snapshots is None:
        raise PipelineError(
            f"flow {first.name} takes snapshots that have no version, {beside}",
            first.location,
            "say which changes a snapshot has seen: "
            + (
                "add WITH VERSION (query)"
                if first.language == "sql"
                else "give `source` a function that returns (snapshot, version)"
            ),
        )
    if dataset.expectations:
        raise PipelineError(
            f"{dataset.name} has expectations, {beside}",
            dataset.location,
            "put them on the views that the flows read",
        )
    for flow in flows:
        if wrong := _unlike_snapshots(flow, first):
            raise PipelineError(f"flow {flow.name} {wrong[0]}, {beside}", flow.location, wrong[1])


def _unlike_snapshots(
    flow: Flow,  # A flow into the target of a flow from snapshots
    snapshots: Flow,  # That flow
) -> tuple[str, str] | None:  # What keeps the two from one table, and what to write; None where nothing does
    """Find what a flow does with its target that a snapshot does not."""
    spec, keys = flow.cdc_spec, [folded(key) for key in snapshots.cdc_spec.keys]
    partial = ("ignore_null_updates", *[name for name in COLUMN_LISTS if name.startswith("ignore_null")])
    if spec.stored_as_scd_type != 1:
        kind = spec.stored_as_scd_type
        return f"keeps the history of its rows (SCD type {kind})", "store it as SCD type 1 in all its flows"
    if sorted(keys) != sorted(folded(key) for key in spec.keys):
        others = ", ".join(snapshots.cdc_spec.keys)
        return (
            f"has the keys {', '.join(spec.keys)}, and {snapshots.name} {others}",
            "give both the same keys",
        )
    if any(getattr(spec, name) for name in partial):
        return "ignores NULLs", "let changes have whole rows: complete them in a view, or leave this out"
    if spec.columns_to_update:
        return "has `columns_to_update`", "let changes have whole rows: leave `columns_to_update` out"
    return None


def _check_replacing_flow(
    dataset: Dataset,  # A dataset
    flows: list[Flow],  # All flows that fill it
) -> None:
    """Refuse another flow beside one that replaces rows, and rules of a table of a range."""
    replacing = [flow for flow in flows if flow.replaces is not None]
    if replacing and len(flows) > 1:
        raise PipelineError(
            f"{dataset.name} is the target of {replacing[0].name}, which replaces rows, and of another flow",
            dataset.location,
            "one flow that replaces rows is all that may write to a table",
        )
    if dataset.expectations and any(flow.kind == "replace_where" for flow in flows):
        raise PipelineError(
            f"{dataset.name} has expectations and is the target of a REPLACE WHERE flow, which knows none",
            dataset.location,
            "put them on a temporary view that the flow reads",
        )


def _check_rule_names(
    dataset: Dataset,  # With its expectations
) -> None:
    """Refuse two rules of one name."""
    names = [rule.name for rule in dataset.expectations]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PipelineError(
            f"{dataset.name} has two expectations named {repeated[0]!r}",
            dataset.location,
            "give each its own name",
        )
