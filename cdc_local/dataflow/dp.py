"""`pyspark.pipelines` and `dlt`, recording into a graph."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from types import ModuleType
from typing import Any

from cdc_local.dataflow.graph import Dataset, Expectation, Flow, Graph
from cdc_local.errors import PipelineError
from cdc_utils.spec import CdcSpec


def check_call(
    graph: Graph,  # Knows the line that is declaring
    function: Callable,  # An entry of `dp`
) -> Callable:  # The same, which names a wrong parameter and its nearest neighbour
    "Turn a wrong call into a `PipelineError` at the user's line."
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args, **kwargs):
        for name in kwargs:
            if name not in signature.parameters:
                near = difflib.get_close_matches(name, signature.parameters, 1)
                raise PipelineError(
                    f"{function.__name__}() has no parameter `{name}`",
                    graph.locate(),
                    f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(signature.parameters)}",
                )
        try:
            signature.bind(*args, **kwargs)
        except TypeError as wrong:
            raise PipelineError(f"{function.__name__}(): {wrong}", graph.locate()) from None
        return function(*args, **kwargs)

    return call


def column_names(
    value: Any,  # None, a name or a list of names
) -> tuple:
    "Column names as a tuple."
    return () if not value else (value,) if isinstance(value, str) else tuple(value)


def expectations_of(
    action: str,  # 'warn', 'drop' or 'fail'
    rules: dict,  # Rule name to constraint, or None
) -> tuple:
    "A dictionary of rules as `Expectation`s."
    return tuple(Expectation(name, constraint, action) for name, constraint in (rules or {}).items())


def warn_of_no_effect(
    graph: Graph,  # Takes the warning
    function: str,  # Name of the `dp` function
    **given: Any,  # Parameters that a laptop has no use for
) -> None:
    "Say which given parameters do nothing locally."
    for name, value in given.items():
        if value:
            graph.warn(f"{function}(): `{name}` has no effect on the local runner")


def make_decorator(
    declare: Callable,  # Takes the decorated function
    function: Callable,  # The decorated function where the decorator is bare, else None
):
    "Serve `@dp.table` and `@dp.table(...)` alike."

    def decorate(query):
        declare(query)
        return query

    return decorate if function is None else decorate(function)


def declare_dataset(
    graph: Graph,  # Takes the declaration
    kind: str,  # Kind of the dataset
    query: Callable,  # The decorated function
    name: str | None = None,  # Its name; the function's by default
    once: bool = False,  # Whether its flow runs once
    spark_conf: dict | None = None,  # Spark settings of its flow
    **options: Any,  # Further fields of `Dataset`
) -> Dataset:
    "Record a dataset function, its flow and the rules decorated below it."
    if not callable(query):
        raise PipelineError(f"{kind} decorates a function, not {query!r}", graph.locate())
    full, location = graph.name(name or query.__name__), graph.locate()
    rules = tuple(getattr(query, "__expectations__", ()))
    dataset = graph.add_dataset(Dataset(full, kind, query, expectations=rules, location=location, **options))
    graph.declared_by[id(query)] = (query, full)
    if kind != "view":
        graph.add_flow(
            Flow(
                str(full),
                full,
                {"materialized_view": "complete"}.get(kind, kind),
                query,
                spark_conf=spark_conf or {},
                location=location,
            )
        )
    return dataset


def dataset_functions(
    graph: Graph,  # Takes the declarations
) -> dict[str, Callable]:
    "`table`, `materialized_view`, `temporary_view`."

    def table(
        query_function=None,
        *,
        name=None,
        comment=None,
        spark_conf=None,
        table_properties=None,
        path=None,
        partition_cols=None,
        cluster_by=None,
        cluster_by_auto=None,
        schema=None,
        row_filter=None,
        private=False,
        temporary=False,
    ):
        warn_of_no_effect(
            graph,
            "table",
            path=path,
            row_filter=row_filter,
            cluster_by_auto=cluster_by_auto,
            spark_conf=spark_conf,
        )
        return make_decorator(
            lambda query: declare_dataset(
                graph,
                "table",
                query,
                name,
                comment=comment,
                spark_conf=spark_conf,
                schema=schema,
                table_properties=dict(table_properties or {}),
                partition_cols=column_names(partition_cols),
                cluster_by=column_names(cluster_by),
                private=bool(private or temporary),
            ),
            query_function,
        )

    def materialized_view(
        query_function=None,
        *,
        name=None,
        comment=None,
        spark_conf=None,
        table_properties=None,
        path=None,
        partition_cols=None,
        cluster_by=None,
        cluster_by_auto=None,
        schema=None,
        row_filter=None,
        private=False,
        refresh_policy=None,
    ):
        warn_of_no_effect(
            graph,
            "materialized_view",
            path=path,
            row_filter=row_filter,
            cluster_by_auto=cluster_by_auto,
            refresh_policy=refresh_policy,
            spark_conf=spark_conf,
        )
        return make_decorator(
            lambda query: declare_dataset(
                graph,
                "materialized_view",
                query,
                name,
                comment=comment,
                spark_conf=spark_conf,
                schema=schema,
                table_properties=dict(table_properties or {}),
                partition_cols=column_names(partition_cols),
                cluster_by=column_names(cluster_by),
                private=bool(private),
            ),
            query_function,
        )

    def temporary_view(query_function=None, *, name=None, comment=None, spark_conf=None):
        warn_of_no_effect(graph, "temporary_view", spark_conf=spark_conf)
        return make_decorator(
            lambda query: declare_dataset(graph, "view", query, name, comment=comment, spark_conf=spark_conf),
            query_function,
        )

    return dict(
        table=table,
        create_table=table,
        materialized_view=materialized_view,
        temporary_view=temporary_view,
        view=temporary_view,
    )


def streaming_table_functions(
    graph: Graph,  # Takes the declarations
) -> dict[str, Callable]:
    "`create_streaming_table` and its older names."

    def create_streaming_table(
        name,
        comment=None,
        spark_conf=None,
        table_properties=None,
        path=None,
        partition_cols=None,
        cluster_by=None,
        cluster_by_auto=None,
        schema=None,
        expect_all=None,
        expect_all_or_drop=None,
        expect_all_or_fail=None,
        row_filter=None,
        private=False,
    ) -> None:
        warn_of_no_effect(
            graph,
            "create_streaming_table",
            path=path,
            row_filter=row_filter,
            cluster_by_auto=cluster_by_auto,
            spark_conf=spark_conf,
        )
        rules = (
            expectations_of("warn", expect_all)
            + expectations_of("drop", expect_all_or_drop)
            + expectations_of("fail", expect_all_or_fail)
        )
        graph.add_dataset(
            Dataset(
                graph.name(name),
                "streaming_table",
                comment=comment,
                schema=schema,
                expectations=rules,
                table_properties=dict(table_properties or {}),
                partition_cols=column_names(partition_cols),
                cluster_by=column_names(cluster_by),
                private=bool(private),
                location=graph.locate(),
            )
        )

    return dict.fromkeys(
        ("create_streaming_table", "create_streaming_live_table", "create_target_table"),
        create_streaming_table,
    )


def flow_functions(
    graph: Graph,  # Takes the declarations
) -> dict[str, Callable]:
    "`append_flow`, `create_auto_cdc_flow` and its older name."

    def append_flow(query_function=None, *, target, name=None, comment=None, spark_conf=None, once=False):
        warn_of_no_effect(graph, "append_flow", spark_conf=spark_conf)
        return make_decorator(
            lambda query: graph.add_flow(
                Flow(
                    name or query.__name__,
                    graph.name(target),
                    "append",
                    query,
                    once=once,
                    spark_conf=dict(spark_conf or {}),
                    location=graph.locate(),
                )
            ),
            query_function,
        )

    def create_auto_cdc_flow(
        target,
        source,
        keys,
        sequence_by,
        where=None,
        ignore_null_updates=False,
        apply_as_deletes=None,
        apply_as_truncates=None,
        column_list=None,
        except_column_list=None,
        stored_as_scd_type=1,
        track_history_column_list=None,
        track_history_except_column_list=None,
        flow_name=None,
        name=None,
        once=False,
        ignore_null_updates_column_list=None,
        ignore_null_updates_except_column_list=None,
        columns_to_update=None,
        system_sequence_by=None,
        spark_conf=None,
    ) -> None:
        fields = dict(locals())
        refused = [key for key in ("where", "system_sequence_by") if fields.pop(key) is not None]
        if refused:
            raise PipelineError(
                f"create_auto_cdc_flow(): `{refused[0]}` is not supported by the local runner", graph.locate()
            )
        for key in ("graph", "flow_name", "spark_conf"):
            fields.pop(key, None)
        warn_of_no_effect(graph, "create_auto_cdc_flow", spark_conf=spark_conf)
        try:
            spec = CdcSpec.from_arguments(**fields | dict(name=name or flow_name))
        except ValueError as wrong:
            raise PipelineError(str(wrong), graph.locate()) from None
        full = graph.name(target)
        flow = spec.name or str(full)
        graph.add_flow(
            Flow(
                flow,
                full,
                "auto_cdc",
                spec=spec,
                once=once,
                spark_conf=dict(spark_conf or {}),
                location=graph.locate(),
            )
        )

    return dict(
        append_flow=append_flow, create_auto_cdc_flow=create_auto_cdc_flow, apply_changes=create_auto_cdc_flow
    )


def snapshot_functions(
    graph: Graph,  # Takes the declarations
) -> dict[str, Callable]:
    "`create_auto_cdc_from_snapshot_flow` and its older name."

    def create_auto_cdc_from_snapshot_flow(
        target,
        source,
        keys,
        stored_as_scd_type=1,
        track_history_column_list=None,
        track_history_except_column_list=None,
        name=None,
        once=False,
    ) -> None:
        function = source if callable(source) else None
        shown = source if function is None else f"{getattr(source, '__name__', 'source')}()"
        try:
            spec = CdcSpec(
                target,
                shown,
                keys,
                "__version",
                "__absent",
                except_column_list=("__version", "__absent"),
                name=name,
                once=once,
                stored_as_scd_type=stored_as_scd_type,
                track_history_column_list=track_history_column_list,
                track_history_except_column_list=track_history_except_column_list,
            )
        except ValueError as wrong:
            raise PipelineError(str(wrong), graph.locate()) from None
        full = graph.name(target)
        graph.add_flow(
            Flow(
                spec.name or str(full),
                full,
                "snapshot",
                spec=spec,
                snapshots=function,
                once=spec.once,
                location=graph.locate(),
            )
        )

    return dict.fromkeys(
        ("create_auto_cdc_from_snapshot_flow", "apply_changes_from_snapshot"),
        create_auto_cdc_from_snapshot_flow,
    )


def expectation_functions(
    graph: Graph,  # Takes the declarations
) -> dict[str, Callable]:
    "The six `expect*` decorators."

    def attach(rules):
        def decorate(query):
            query.__expectations__ = rules + tuple(getattr(query, "__expectations__", ()))
            if id(query) in graph.declared_by:
                name = graph.declared_by[id(query)][1]
                graph.datasets[name] = replace(
                    graph.datasets[name], expectations=rules + graph.datasets[name].expectations
                )
            return query

        return decorate

    def one(end, action):
        def expect(name, constraint):
            return attach((Expectation(name, constraint, action),))

        expect.__name__ = "expect" + end
        return expect

    def many(end, action):
        def expect_all(expectations):
            return attach(expectations_of(action, expectations))

        expect_all.__name__ = "expect_all" + end
        return expect_all

    actions = {"": "warn", "_or_drop": "drop", "_or_fail": "fail"}
    return {f"expect{end}": one(end, action) for end, action in actions.items()} | {
        f"expect_all{end}": many(end, action) for end, action in actions.items()
    }


def sink_functions(
    graph: Graph,  # Takes the declarations
) -> dict[str, Callable]:
    "`create_sink` and `foreach_batch_sink`."

    def sink(name, **what) -> None:
        graph.add_dataset(Dataset(graph.name(name), "sink", sink=what, location=graph.locate()))

    def create_sink(name, format, options=None) -> None:
        sink(name, format=format, options=dict(options or {}))

    def foreach_batch_sink(handler=None, *, name=None):
        return make_decorator(lambda function: sink(name or function.__name__, handler=function), handler)

    return dict(create_sink=create_sink, foreach_batch_sink=foreach_batch_sink)


class LakeflowModule(ModuleType):
    "`pyspark.pipelines` or `dlt`, recording into a graph."

    def __init__(
        self,
        name: str,  # Name it is imported by
        graph: Graph,  # Takes the declarations
        reads: dict[str, Callable] | None = None,  # `read` and `read_stream`
    ) -> None:
        super().__init__(name)
        self.__path__ = []
        groups = (
            dataset_functions,
            streaming_table_functions,
            flow_functions,
            snapshot_functions,
            expectation_functions,
            sink_functions,
        )
        entries = {key: entry for group in groups for key, entry in group(graph).items()}
        self.__dict__["_graph"] = graph
        self.__dict__.update(
            {key: check_call(graph, entry) for key, entry in (entries | (reads or {})).items()}
        )

    def on_event_hook(self, *args, **options):
        "Accept an event hook; it is not called locally."
        self._graph.warn("on_event_hook: event hooks are not called by the local runner")
        return args[0] if args and callable(args[0]) else lambda hook: hook

    def __getattr__(self, name) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        known = sorted(key for key in self.__dict__ if not key.startswith("_"))
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(known)}"
        raise PipelineError(f"{self.__name__} has no `{name}` here", self._graph.locate(), hint)
