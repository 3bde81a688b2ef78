"""`pyspark.pipelines` and `dlt`: functions that declare, and record into a graph.

`Declarations` has one method for each function of Databricks' modules, with the parameters it has there.
A new parameter of `dp.table` is a parameter of `Declarations.table`, handed on as a field of `Dataset`, or to
`_warn_of_no_effect`. A new function is a new method.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper, wraps
from types import ModuleType
from typing import Any, Literal

from cdc_local.dataflow.graph import (
    Action,
    Dataset,
    DatasetKind,
    Expectation,
    Flow,
    FlowKind,
    Graph,
    Query,
    Replacement,
)
from cdc_local.errors import PipelineError
from cdc_local.sql_names import unquote
from cdc_utils.snapshots import ABSENT, VERSION
from cdc_utils.spec import CdcSpec, shown_value

Names = str | Sequence[str] | None  # One column or several
Decorator = Callable[[Query], Query]


class Declarations:
    """The functions of `dp` and `dlt`, by their names and parameters on Databricks.

    Where a parameter is without effect on this machine, its use is a warning.
    """

    def __init__(
        self,
        graph: Graph,  # Records what is declared
    ) -> None:
        self._graph = graph

    # Datasets that a decorated function fills

    def table(
        self,
        query_function: Query | None = None,  # The decorated function, where the decorator is bare
        *,
        name: str | None = None,  # Name of the table; the function's by default
        comment: str | None = None,  # Its description
        spark_conf: Mapping[str, str] | None = None,  # Without effect
        table_properties: Mapping[str, str] | None = None,  # Delta and pipeline properties
        path: str | None = None,  # Without effect
        partition_cols: Names = None,  # Columns that split the files
        cluster_by: Names = None,  # Columns to cluster by
        cluster_by_auto: bool | None = None,  # Without effect
        schema: Any = None,  # Declared schema: DDL string or StructType
        row_filter: str | None = None,  # Without effect
        private: bool = False,  # Left out of the catalog
        temporary: bool = False,  # Older name of `private`
        replace_using: Names = None,  # Columns; a stored row is replaced by rows that have its values in them
        sequence_by: Any = None,  # With `replace_using`: SQL or Column, of which the highest wins
        replace_where: Any = None,  # SQL or Column, true for the rows that each update computes anew
        format: str | None = None,  # Of its files: Delta, the only one here
    ) -> Any:  # The function, or a decorator
        """Declare a table; it is a streaming table if its query streams, else a materialized view.

        With `replace_using` or `replace_where` it is a streaming table whose rows are replaced.
        """
        self._refuse_other_formats("table", format)
        replaces = self._read_replacement("table", replace_using, sequence_by, replace_where)
        self._warn_of_no_effect(
            "table", path=path, row_filter=row_filter, cluster_by_auto=cluster_by_auto, spark_conf=spark_conf
        )

        def declare(query: Query) -> None:
            self._declare_dataset(
                "table",
                query,
                name,
                spark_conf,
                comment=comment,
                schema=schema,
                table_properties=_properties(table_properties, row_filter),
                partition_cols=_column_names(partition_cols),
                cluster_by=_column_names(cluster_by),
                private=bool(private or temporary),
                replaces=replaces,
            )

        return _decorate(query_function, declare)

    create_table = table

    def materialized_view(
        self,
        query_function: Query | None = None,  # The decorated function, where the decorator is bare
        *,
        name: str | None = None,  # Name of the view; the function's by default
        comment: str | None = None,  # Its description
        spark_conf: Mapping[str, str] | None = None,  # Without effect
        table_properties: Mapping[str, str] | None = None,  # Delta and pipeline properties
        path: str | None = None,  # Without effect
        partition_cols: Names = None,  # Columns that split the files
        cluster_by: Names = None,  # Columns to cluster by
        cluster_by_auto: bool | None = None,  # Without effect
        schema: Any = None,  # Declared schema: DDL string or StructType
        row_filter: str | None = None,  # Without effect
        private: bool = False,  # Left out of the catalog
        refresh_policy: str | None = None,  # Without effect
        format: str | None = None,  # Of its files: Delta, the only one here
    ) -> Any:  # The function, or a decorator
        """Declare a materialized view."""
        self._refuse_other_formats("materialized_view", format)
        self._warn_of_no_effect(
            "materialized_view",
            path=path,
            row_filter=row_filter,
            cluster_by_auto=cluster_by_auto,
            refresh_policy=refresh_policy,
            spark_conf=spark_conf,
        )

        def declare(query: Query) -> None:
            self._declare_dataset(
                "materialized_view",
                query,
                name,
                spark_conf,
                comment=comment,
                schema=schema,
                table_properties=_properties(table_properties, row_filter),
                partition_cols=_column_names(partition_cols),
                cluster_by=_column_names(cluster_by),
                private=bool(private),
            )

        return _decorate(query_function, declare)

    def temporary_view(
        self,
        query_function: Query | None = None,  # The decorated function, where the decorator is bare
        *,
        name: str | None = None,  # Name of the view; the function's by default
        comment: str | None = None,  # Its description
        spark_conf: Mapping[str, str] | None = None,  # Without effect
    ) -> Any:  # The function, or a decorator
        """Declare a view of this pipeline; nothing of it is stored."""
        self._warn_of_no_effect("temporary_view", spark_conf=spark_conf)

        def declare(query: Query) -> None:
            self._declare_dataset("view", query, name, spark_conf, comment=comment, private=True)

        return _decorate(query_function, declare)

    view = create_view = temporary_view

    # Tables and sinks that flows fill

    def create_streaming_table(
        self,
        name: str,  # Name of the table
        comment: str | None = None,  # Its description
        spark_conf: Mapping[str, str] | None = None,  # Without effect
        table_properties: Mapping[str, str] | None = None,  # Delta and pipeline properties
        path: str | None = None,  # Without effect
        partition_cols: Names = None,  # Columns that split the files
        cluster_by: Names = None,  # Columns to cluster by
        cluster_by_auto: bool | None = None,  # Without effect
        schema: Any = None,  # Declared schema: DDL string or StructType
        expect_all: Mapping[str, Any] | None = None,  # Rules that count: name -> constraint
        expect_all_or_drop: Mapping[str, Any] | None = None,  # Rules that drop rows
        expect_all_or_fail: Mapping[str, Any] | None = None,  # Rules that fail the update
        row_filter: str | None = None,  # Without effect
        private: bool = False,  # Left out of the catalog
        format: str | None = None,  # Of its files: Delta, the only one here
    ) -> None:
        """Declare a streaming table that flows fill."""
        self._refuse_other_formats("create_streaming_table", format)
        self._warn_of_no_effect(
            "create_streaming_table",
            path=path,
            row_filter=row_filter,
            cluster_by_auto=cluster_by_auto,
            spark_conf=spark_conf,
        )
        self._graph.add_dataset(
            Dataset(
                self._graph.name(name),
                "streaming_table",
                comment=comment,
                schema=schema,
                expectations=(
                    *_expectations("warn", expect_all),
                    *_expectations("drop", expect_all_or_drop),
                    *_expectations("fail", expect_all_or_fail),
                ),
                table_properties=_properties(table_properties, row_filter),
                partition_cols=_column_names(partition_cols),
                cluster_by=_column_names(cluster_by),
                private=bool(private),
                location=self._graph.locate(),
            )
        )

    create_streaming_live_table = create_target_table = create_streaming_table

    def create_sink(
        self,
        name: str,  # Name of the sink
        format: str,  # 'delta', 'kafka' or another one of Spark's
        options: Mapping[str, str] | None = None,  # Options of the format
    ) -> None:
        """Declare a sink: append flows write to it, outside of the pipeline's tables."""
        self._add_sink(name, format=format, options=dict(options or {}))

    def foreach_batch_sink(
        self,
        handler: Query | None = None,  # The decorated function, where the decorator is bare
        *,
        name: str | None = None,  # Name of the sink; the function's by default
    ) -> Any:  # The function, or a decorator
        """Declare a sink: the decorated function gets each batch and its number."""
        return _decorate(
            handler, lambda function: self._add_sink(name or self._name_of(function), handler=function)
        )

    # Flows

    def append_flow(
        self,
        name: str | None = None,  # Name of the flow; the function's by default
        target: str | None = None,  # Streaming table or sink that gets the rows; required
        comment: str | None = None,  # Its description
        spark_conf: Mapping[str, str] | None = None,  # Without effect
        once: bool = False,  # Runs once, and again on full refresh
    ) -> Decorator:
        """Declare a flow that appends the rows of the decorated function's query."""
        if name is not None and not isinstance(name, str):
            raise PipelineError(
                f"append_flow decorates a function, and `name` is {name!r}",
                self._graph.locate(),
                "write @dp.append_flow(target='…') above it",
            )
        if target is None:
            raise PipelineError("append_flow(): missing a required argument: 'target'", self._graph.locate())
        full_name = self._graph.name(target)
        self._warn_of_no_effect("append_flow", spark_conf=spark_conf)

        def declare(query: Query) -> Query:
            self._graph.add_flow(
                Flow(
                    name or self._name_of(query),
                    full_name,
                    "append",
                    query,
                    once=once,
                    spark_conf=dict(spark_conf or {}),
                    location=self._graph.locate(),
                )
            )
            return query

        return declare

    def replace_flow(
        self,
        query_function: Query | None = None,  # The decorated function, where the decorator is bare
        *,
        target: str,  # Streaming table whose rows are replaced
        replace_using: Names,  # Columns; a stored row is replaced by rows that have its values in them
        sequence_by: Any,  # SQL or Column, of which the highest wins
        name: str | None = None,  # Name of the flow; the function's by default
        comment: str | None = None,  # Its description
        spark_conf: Mapping[str, str] | None = None,  # Without effect
    ) -> Any:  # The function, or a decorator
        """Declare a flow over partial snapshots: of each key, the rows of the highest sequence."""
        self._warn_of_no_effect("replace_flow", spark_conf=spark_conf)
        replaces = self._read_replacement("replace_flow", replace_using or (), sequence_by)

        def declare(query: Query) -> None:
            self._graph.add_flow(
                Flow(
                    name or self._name_of(query),
                    self._graph.name(target),
                    "replace_using",
                    query,
                    replaces=replaces,
                    spark_conf=dict(spark_conf or {}),
                    location=self._graph.locate(),
                )
            )

        return _decorate(query_function, declare)

    def update_flow(
        self,
        query_function: Query | None = None,  # The decorated function, where the decorator is bare
        *,
        target: str,  # A sink
        name: str | None = None,  # Name of the flow; the function's by default
        comment: str | None = None,  # Its description
        spark_conf: Mapping[str, str] | None = None,  # Spark settings of this flow
    ) -> Any:
        """Refuse a flow whose batches change what they wrote before: a flow of another kind would not."""
        raise PipelineError(
            "update_flow() writes the aggregates that a batch changes to a sink, "
            "which the local runner does not do",
            self._graph.locate(),
            "a table over groupBy(…) without a watermark holds the aggregates of all rows so far",
        )

    def create_auto_cdc_flow(
        self,
        target: str,  # Streaming table that gets the rows
        source: str,  # Table or view that the events stream from
        keys: Any,  # Columns that identify a row
        sequence_by: Any,  # SQL or Column that orders a key's events
        where: Any = None,  # SQL condition or Column that each event satisfies, else the update fails
        ignore_null_updates: bool = False,  # Whether a NULL in an event leaves the row's value as it is
        apply_as_deletes: Any = None,  # SQL condition or Column: the event removes its row
        apply_as_truncates: Any = None,  # SQL condition or Column: the event removes all older rows
        column_list: Any = None,  # Columns to keep
        except_column_list: Any = None,  # Columns to leave out
        stored_as_scd_type: int | str = 1,  # 1: current rows; 2: history; 'bitemporal'
        track_history_column_list: Any = None,  # Columns whose change opens a version
        track_history_except_column_list: Any = None,  # Columns whose change is written in place
        flow_name: str | None = None,  # Older name of `name`
        name: str | None = None,  # Name of the flow; the target's by default
        once: bool = False,  # Runs once, and again on full refresh
        ignore_null_updates_column_list: Any = None,  # `ignore_null_updates` in these columns only
        ignore_null_updates_except_column_list: Any = None,  # The same, in all columns but these
        columns_to_update: str | None = None,  # Column of the source that names the columns to write
        system_sequence_by: Any = None,  # SQL or Column: when the system learnt of an event (bitemporal)
        spark_conf: Mapping[str, str] | None = None,  # Without effect
    ) -> None:
        """Declare a flow that applies a stream of change events."""
        self._warn_of_no_effect("create_auto_cdc_flow", spark_conf=spark_conf)
        spec = self._make_spec(
            target=target,
            source=source,
            keys=keys,
            sequence_by=sequence_by,
            ignore_null_updates=ignore_null_updates,
            apply_as_deletes=apply_as_deletes,
            apply_as_truncates=apply_as_truncates,
            column_list=column_list,
            except_column_list=except_column_list,
            stored_as_scd_type=stored_as_scd_type,
            track_history_column_list=track_history_column_list,
            track_history_except_column_list=track_history_except_column_list,
            name=name or flow_name,
            once=once,
            ignore_null_updates_column_list=ignore_null_updates_column_list,
            ignore_null_updates_except_column_list=ignore_null_updates_except_column_list,
            columns_to_update=columns_to_update,
            system_sequence_by=system_sequence_by,
        )
        full_name = self._graph.name(target)
        self._graph.add_flow(
            Flow(
                spec.name or str(full_name),
                full_name,
                "auto_cdc",
                spec=spec,
                where=where,
                once=once,
                spark_conf=dict(spark_conf or {}),
                location=self._graph.locate(),
            )
        )

    apply_changes = create_auto_cdc_flow

    def create_auto_cdc_from_snapshot_flow(
        self,
        target: str,  # Streaming table that gets the rows
        # Table of snapshots, or a function that returns the next one and its version
        source: str | Query | None = None,
        keys: Any = None,  # Columns that identify a row
        stored_as_scd_type: int | str | None = None,  # 1, the default: current rows; 2: history
        snapshot_and_version: Query | None = None,  # Older name of a `source` that is a function
        track_history_column_list: Any = None,  # Columns whose change opens a version
        track_history_except_column_list: Any = None,  # Columns whose change is written in place
        name: str | None = None,  # Name of the flow; the target's by default
        once: bool = False,  # Runs once, and again on full refresh
    ) -> None:
        """Declare a flow that applies the differences between snapshots."""
        if str(stored_as_scd_type).lower() == "bitemporal":
            raise PipelineError(
                f"{target}: `stored_as_scd_type` is {stored_as_scd_type!r}; a snapshot has one time, "
                "its version: use 1 (current rows) or 2 (history)",
                self._graph.locate(),
            )
        given = [value for value in (source, snapshot_and_version) if value is not None]
        if len(given) != 1:
            raise PipelineError(
                f"create_auto_cdc_from_snapshot_flow(): {target} has "
                f"{'no `source`' if not given else '`source` and `snapshot_and_version`'}",
                self._graph.locate(),
                "give `source`: a table of snapshots, or a function that returns the next one",
            )
        [source] = given
        function = source if callable(source) else None
        if function is None and not isinstance(source, str):
            raise PipelineError(
                f"{target}: `source` is {shown_value(source)}",
                self._graph.locate(),
                "give the name of a table or view, or a function: lambda version: (frame, its version)",
            )
        spec = self._make_spec(
            target=target,
            source=source if function is None else f"{getattr(function, '__name__', 'source')}()",
            keys=keys,
            sequence_by=VERSION,
            apply_as_deletes=ABSENT,
            except_column_list=(VERSION, ABSENT),
            name=name,
            once=once,
            stored_as_scd_type=stored_as_scd_type,
            track_history_column_list=track_history_column_list,
            track_history_except_column_list=track_history_except_column_list,
        )
        full_name = self._graph.name(target)
        self._graph.add_flow(
            Flow(
                spec.name or str(full_name),
                full_name,
                "snapshot",
                spec=spec,
                snapshots=function,
                once=spec.once,
                location=self._graph.locate(),
            )
        )

    apply_changes_from_snapshot = create_auto_cdc_from_snapshot_flow

    # Expectations: decorators above or below the dataset's own

    def expect(
        self,
        name: str,  # Name of the rule
        constraint: Any = None,  # SQL predicate (or Column) that a valid row satisfies
        inv: Any = None,  # Its name in Databricks' stub package
    ) -> Decorator:
        """Count the rows that break a rule."""
        return self._attach_one("expect", "warn", name, constraint, inv)

    def expect_or_drop(
        self,
        name: str,  # Name of the rule
        constraint: Any = None,  # SQL predicate (or Column) that a valid row satisfies
        inv: Any = None,  # Its name in Databricks' stub package
    ) -> Decorator:
        """Drop the rows that break a rule."""
        return self._attach_one("expect_or_drop", "drop", name, constraint, inv)

    def expect_or_fail(
        self,
        name: str,  # Name of the rule
        constraint: Any = None,  # SQL predicate (or Column) that a valid row satisfies
        inv: Any = None,  # Its name in Databricks' stub package
    ) -> Decorator:
        """Fail the update at a row that breaks a rule."""
        return self._attach_one("expect_or_fail", "fail", name, constraint, inv)

    def expect_all(
        self,
        expectations: Mapping[str, Any],  # Name of each rule -> its constraint
    ) -> Decorator:
        """Count the rows that break each rule."""
        return self._attach(_expectations("warn", expectations))

    def expect_all_or_drop(
        self,
        expectations: Mapping[str, Any],  # Name of each rule -> its constraint
    ) -> Decorator:
        """Drop the rows that break any of the rules."""
        return self._attach(_expectations("drop", expectations))

    def expect_all_or_fail(
        self,
        expectations: Mapping[str, Any],  # Name of each rule -> its constraint
    ) -> Decorator:
        """Fail the update at a row that breaks any of the rules."""
        return self._attach(_expectations("fail", expectations))

    # What watches an update

    def on_event_hook(
        self,
        user_event_hook_fn: Query | None = None,  # The decorated function, where the decorator is bare
        max_allowable_consecutive_failures: int | None = None,  # Failures after which it is called no more
    ) -> Any:  # The function, or a decorator
        """Accept a function that is to get each event of the event log; it is not called here."""
        self._graph.warn("on_event_hook: event hooks are not called by the local runner")
        return _decorate(user_event_hook_fn, lambda hook: None)

    def enable_local_execution(self) -> None:
        """Do nothing: in Databricks' stub package it lets a source file be imported without an error."""

    # How a declaration is recorded

    def _warn_of_no_effect(
        self,
        function: str,  # Name of the `dp` function
        **parameters: Any,  # Those without effect on this machine, and what was given for them
    ) -> None:
        for name, value in parameters.items():
            if value:
                self._graph.warn(f"{function}(): `{name}` has no effect on the local runner")

    def _refuse_other_formats(
        self,
        function: str,  # Name of the `dp` function
        format: str | None,  # What was given for its files
    ) -> None:
        if format is not None and str(format).lower() != "delta":
            raise PipelineError(
                f"{function}(): `format` is {format!r}, and tables of a pipeline are Delta tables",
                self._graph.locate(),
                "leave it out, or write 'delta'",
            )

    def _declare_dataset(
        self,
        kind: Literal["table", "materialized_view", "view"],  # What is declared
        query: Query,  # The decorated function
        name: str | None,  # Its name; the function's by default
        spark_conf: Mapping[str, str] | None,  # Spark settings of its flow
        replaces: Replacement | None = None,  # Of a table whose rows are replaced
        **fields: Any,  # Further fields of `Dataset`
    ) -> None:
        """Add a dataset, its flow and the rules that are decorated below it."""
        graph = self._graph
        if not callable(query):
            raise PipelineError(f"{kind} decorates a function, not {query!r}", graph.locate())
        full_name, location = graph.name(name or self._name_of(query)), graph.locate()
        rules = tuple(getattr(query, "__expectations__", ()))
        dataset_kind: DatasetKind = kind if replaces is None else "streaming_table"
        flow_kind: FlowKind = "complete" if kind == "materialized_view" else kind
        if replaces is not None:
            flow_kind = "replace_using" if replaces.keys else "replace_where"
        graph.add_dataset(
            Dataset(full_name, dataset_kind, query, expectations=rules, location=location, **fields)
        )
        if kind != "view":
            graph.add_flow(
                Flow(
                    str(full_name),
                    full_name,
                    flow_kind,
                    query,
                    replaces=replaces,
                    spark_conf=dict(spark_conf or {}),
                    location=location,
                )
            )

    def _read_replacement(
        self,
        function: str,  # Name of the `dp` function
        replace_using: Names,  # As given; None where it was not
        sequence_by: Any,  # As given
        replace_where: Any = None,  # As given
    ) -> Replacement | None:  # None where nothing is replaced
        """Check what says which rows are replaced; raises `PipelineError`."""
        keys, message = _column_names(replace_using), ""
        if replace_where is not None and (replace_using is not None or sequence_by is not None):
            message = "`replace_where` stands beside `replace_using`; a flow replaces rows in one way"
        elif replace_using is not None and not keys:
            message = "`replace_using` is empty; name the columns that say which rows belong together"
        elif len({key.lower() for key in keys}) < len(keys):
            message = f"`replace_using` names a column twice: {', '.join(keys)}"
        elif keys and sequence_by is None:
            message = "`replace_using` asks for `sequence_by`, which says which rows are newer"
        elif sequence_by is not None and not keys:
            message = "`sequence_by` asks for `replace_using`, the columns whose rows it orders"
        if message:
            raise PipelineError(f"{function}(): {message}", self._graph.locate())
        if not keys and replace_where is None:
            return None
        return Replacement(keys, sequence_by, replace_where)

    def _add_sink(
        self,
        name: str,  # Name of the sink
        **sink: Any,  # Its `format` and `options`, or its `handler`
    ) -> None:
        self._graph.add_dataset(
            Dataset(self._graph.name(name), "sink", sink=sink, location=self._graph.locate())
        )

    def _make_spec(
        self,
        **fields: Any,  # Fields of `CdcSpec`
    ) -> CdcSpec:
        """Check the parameters of AUTO CDC; raises `PipelineError`."""
        try:
            return CdcSpec(**fields)
        except ValueError as wrong:
            raise PipelineError(str(wrong), self._graph.locate()) from None

    def _attach_one(
        self,
        function: str,  # Name of the `dp` function
        action: Action,  # What happens when a row breaks the rule
        name: str,  # Of the rule
        constraint: Any,  # SQL predicate or Column
        inv: Any,  # The same, by its other name
    ) -> Decorator:
        given = [value for value in (constraint, inv) if value is not None]
        if len(given) != 1:
            raise PipelineError(
                f"{function}(): rule {name!r} has {'no' if not given else 'more than one'} constraint",
                self._graph.locate(),
                f"write @dp.{function}('{name}', 'id IS NOT NULL')",
            )
        return self._attach(_expectations(action, {name: given[0]}))

    def _attach(
        self,
        rules: tuple[Expectation, ...],  # Rules of one decorator
    ) -> Decorator:
        def decorate(query: Any) -> Query:
            declared = self._graph.add_expectations(query, rules)
            decorated: Query = query if declared or inspect.isfunction(query) else _as_function(query)
            if inspect.isfunction(decorated):
                given = rules + tuple(getattr(decorated, "__expectations__", ()))
                vars(decorated)["__expectations__"] = given
            return decorated

        return decorate

    def _name_of(
        self,
        query: Query,  # A function, or another object that is called
    ) -> str:
        "The name of a function, where nobody gave another."
        found = getattr(query, "__name__", None)
        if found is None:
            raise PipelineError(
                f"{query!r} has no name of its own", self._graph.locate(), "give it one: name='…'"
            )
        return str(found)


def _as_function(
    query: Query,  # A bound method, or another object that holds no attributes of its own
) -> Query:  # A function that calls it
    "Make a function of what is called."

    def call() -> Any:
        return query()

    return update_wrapper(call, query)


def _column_names(
    value: Names,  # None, a name or several
) -> tuple[str, ...]:
    if not value:
        return ()
    return tuple(map(unquote, (value,) if isinstance(value, str) else value))


def _properties(
    given: Mapping[str, str] | None,  # Table properties
    row_filter: str | None,  # `ROW FILTER function ON (…)`
) -> dict[str, str]:
    "Note a row filter as SQL's clause is noted."
    noted = {"cdc.row_filter": row_filter} if row_filter else {}
    return noted | dict(given or {})


def _expectations(
    action: Action,  # What happens when a row breaks one
    rules: Mapping[str, Any] | None,  # Name of each rule -> its constraint
) -> tuple[Expectation, ...]:
    return tuple(Expectation(name, constraint, action) for name, constraint in (rules or {}).items())


def _decorate(
    function: Query | None,  # The decorated function where the decorator is bare, as `@dp.table`
    declare: Callable[[Query], None],  # Records the decorated function
) -> Any:  # The function, or a decorator for `@dp.table(…)`
    def decorate(query: Query) -> Query:
        declare(query)
        return query

    return decorate if function is None else decorate(function)


class LakeflowModule(ModuleType):
    """`pyspark.pipelines` or `dlt`: the functions of `Declarations`, and the readers of an update."""

    def __init__(
        self,
        name: str,  # Name it is imported by
        graph: Graph,  # Records what is declared
        readers: Mapping[str, Callable[..., Any]] | None = None,  # `read` and `read_stream`
    ) -> None:
        super().__init__(name)
        self._graph = graph
        self.__path__: list[str] = []  # a package, so that `import pyspark.pipelines as dp` finds it
        declarations = Declarations(graph)
        names = [name for name in vars(Declarations) if not name.startswith("_")]
        functions = {name: getattr(declarations, name) for name in names} | dict(readers or {})
        self.__dict__.update({name: _checked(graph, function) for name, function in functions.items()})

    def __getattr__(self, name: str) -> Any:
        """Raise `PipelineError` for a name that the module has not, with the nearest one that it has."""
        if name.startswith("__"):
            raise AttributeError(name)
        known = sorted(key for key in self.__dict__ if not key.startswith("_"))
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(known)}"
        raise PipelineError(f"{self.__name__} has no `{name}` here", self._graph.locate(), hint)


def _checked(
    graph: Graph,  # Knows the line that is declaring
    function: Callable[..., Any],  # A function of `dp`
) -> Callable[..., Any]:  # The same; a wrong call is a `PipelineError` at the user's line
    """Check the arguments of each call; a wrong parameter is named with its nearest neighbour."""
    signature, function_name = inspect.signature(function), function.__name__

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in signature.parameters:
                near = difflib.get_close_matches(name, signature.parameters, 1)
                raise PipelineError(
                    f"{function_name}() has no parameter `{name}`",
                    graph.locate(),
                    f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(signature.parameters)}",
                )
        try:
            signature.bind(*args, **kwargs)
        except TypeError as wrong:
            raise PipelineError(f"{function_name}(): {wrong}", graph.locate()) from None
        return function(*args, **kwargs)

    return call
