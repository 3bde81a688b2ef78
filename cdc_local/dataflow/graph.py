"""What a pipeline declares: datasets, the flows that fill them, and the rules they keep."""

import difflib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cdc_local.errors import Location, PipelineError
from cdc_local.storage import TableName
from cdc_utils.spec import CdcSpec


@dataclass(frozen=True)
class Expectation:
    "A rule that rows of a dataset keep."

    name: str  # Unique within its dataset
    constraint: Any  # SQL predicate (or Column) that a valid row satisfies
    action: str  # 'warn', 'drop' or 'fail'


@dataclass(frozen=True)
class Dataset:
    "A table, view or sink of the pipeline."

    name: TableName  # Full name
    kind: str  # 'streaming_table', 'materialized_view', 'view', 'sink'; 'table' until its query is known
    query: Callable | None = None  # Returns the rows of a view
    comment: str | None = None  # What it holds
    schema: Any = None  # Declared schema: DDL string or StructType
    partition_cols: tuple = ()  # Columns that split the files
    cluster_by: tuple = ()  # Columns to cluster by
    table_properties: dict = field(default_factory=dict)  # Delta and pipeline properties
    private: bool = False  # Left out of the catalog
    expectations: tuple = ()  # `Expectation`s
    sink: dict = field(default_factory=dict)  # A sink's `format`, `options` or `handler`
    scope: tuple | None = None  # Catalog and schema of one-part names in its query
    location: Location | None = None  # Where it was declared


@dataclass(frozen=True)
class Flow:
    "A query that fills a dataset."

    name: str  # Unique within the pipeline
    target: TableName  # The dataset it fills
    kind: str  # 'append', 'complete', 'auto_cdc', 'snapshot'; 'table' until its query is known
    query: Callable | None = None  # Returns the rows; absent where `spec` names a source
    spec: CdcSpec | None = None  # Of an AUTO CDC flow, from snapshots or not
    snapshots: Callable = (
        None  # Returns the next snapshot and its version; absent where `spec` names a table of snapshots
    )
    once: bool = False  # Runs once, and again on full refresh
    spark_conf: dict = field(default_factory=dict)  # Spark settings of this flow
    scope: tuple | None = None  # Catalog and schema of one-part names in its query
    location: Location | None = None  # Where it was declared

    @property
    def cdc_spec(self) -> CdcSpec:
        "What an AUTO CDC flow declares; `TypeError` for a flow of another kind."
        if self.spec is None:
            raise TypeError(f"flow {self.name} is of kind {self.kind} and has no spec")
        return self.spec


def add_named(
    graph: "Graph",  # Supplies catalog and schema
    declared: dict,  # Its datasets or its flows
    name: Any,  # The name to take
    item: Dataset | Flow,  # What is declared
) -> Dataset | Flow:
    "Add a declaration; `PipelineError` if its name is taken."
    if name in declared:
        first = declared[name].location
        raise PipelineError(
            f"{type(item).__name__.lower()} {name} is declared twice"
            + (f", first at {first}" if first else ""),
            item.location,
            "rename or remove one of the two",
        )
    declared[name] = replace(item, scope=item.scope or (graph.catalog, graph.schema))
    return declared[name]


class Graph:
    "The datasets and flows that source files declare."

    def __init__(
        self,
        catalog: str,  # Catalog of names that give none
        schema: str,  # Schema of names that give none
        locate: Callable[[], Location] = lambda: None,  # Tells which source line is declaring
    ) -> None:
        self.catalog, self.schema, self.locate = catalog, schema, locate
        self.datasets: dict[TableName, Dataset] = {}
        self.flows: dict[str, Flow] = {}
        self.warnings: list[str] = []
        self.declared_by: dict[int, tuple] = {}  # a dataset function's id -> (function, dataset name)

    def name(self, text: str) -> TableName:
        return TableName.parse(text, self.catalog, self.schema)

    def warn(self, text: str) -> None:
        "Say something once."
        if text not in self.warnings:
            self.warnings.append(text)

    def add_dataset(self, dataset: Dataset) -> Dataset:
        "Add a dataset; `PipelineError` if its name is taken."
        return add_named(self, self.datasets, dataset.name, dataset)

    def add_flow(self, flow: Flow) -> Flow:
        "Add a flow; `PipelineError` if its name is taken."
        return add_named(self, self.flows, flow.name, flow)

    @contextmanager
    def within(self, scope: tuple | None):
        "Let one-part names mean tables of this catalog and schema; `USE` in a source file changes it for the rest of that file."
        before = self.catalog, self.schema
        self.catalog, self.schema = scope or before
        try:
            yield self
        finally:
            self.catalog, self.schema = before


def check_graph(
    graph: Graph,  # After every source file has been read
) -> None:
    "Refuse an empty pipeline, a flow without its target, a table without a flow, and AUTO CDC mixed with other flows."
    if not graph.datasets and not graph.flows:
        raise PipelineError(
            "these source files declare no table, view or sink", hint="is this the right folder?"
        )
    flows_of = {}
    for flow in graph.flows.values():
        target = graph.datasets.get(flow.target)
        if target is None:
            near = difflib.get_close_matches(flow.target.table, [name.table for name in graph.datasets], 1)
            raise PipelineError(
                f"flow {flow.name} writes to {flow.target}, which is not declared",
                flow.location,
                f"did you mean {near[0]}?" if near else f"add create_streaming_table('{flow.target.table}')",
            )
        if target.kind in ("view", "materialized_view") and flow.kind in ("append", "auto_cdc", "snapshot"):
            raise PipelineError(
                f"flow {flow.name} writes to {flow.target}, a {target.kind}",
                flow.location,
                "its target must be a streaming table or a sink",
            )
        flows_of.setdefault(flow.target, []).append(flow)
    for name, dataset in graph.datasets.items():
        kinds, writers = {flow.kind for flow in flows_of.get(name, ())}, len(flows_of.get(name, ()))
        if dataset.kind == "streaming_table" and not kinds:
            raise PipelineError(
                f"streaming table {name} has no flow",
                dataset.location,
                "add an append_flow or create_auto_cdc_flow, or remove it",
            )
        if "auto_cdc" in kinds and kinds - {"auto_cdc", "snapshot"}:
            raise PipelineError(
                f"{name} is the target of AUTO CDC and of another flow",
                dataset.location,
                "only AUTO CDC flows may write to it",
            )
        if "snapshot" in kinds and writers > 1:
            raise PipelineError(
                f"{name} is the target of AUTO CDC FROM SNAPSHOT and of another flow",
                dataset.location,
                "a snapshot says all that the table holds: nothing else may write to it",
            )
        check_rule_names(dataset)


def check_rule_names(
    dataset: Dataset,  # With its expectations
) -> None:
    "Refuse two rules of one name."
    names = [rule.name for rule in dataset.expectations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PipelineError(
            f"{dataset.name} has two expectations named {twice[0]!r}",
            dataset.location,
            "give each its own name",
        )
