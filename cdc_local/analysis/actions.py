"""Actions in dataset functions: `count()`, `collect()` and their like.

Databricks advises against them, and runs them. A function is evaluated while the pipeline is analysed, where
its tables have no rows, and again when all that it reads is up to date: what an action reads counts as read,
whether or not the rows that the function returns come from it."""

from functools import wraps
from typing import Any

from cdc_local.analysis.evaluation import Evaluation, current_evaluation, evaluating
from cdc_local.analysis.runtime import Runtime
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.errors import NeedsSparkError, PipelineError

_OF_NO_ORDER = ("count", "isEmpty")  # The order of the rows does not matter to them
# Those whose answer on Sail was compared with Spark's
_ON_SAIL = (*_OF_NO_ORDER, "collect", "first", "head", "take", "tail", "toPandas", "toLocalIterator", "show")

ACTIONS = (
    *_ON_SAIL,
    "toArrow",
    "foreach",
    "foreachPartition",
    "checkpoint",
    "localCheckpoint",
    "approxQuantile",
    "corr",
    "cov",
    "crosstab",
    "transpose",  # Spark reads the rows for its columns' names
)


def allow_action(
    name: str,  # The method
    runtime: Runtime,  # The update
    original: Any,  # The method of a frame
) -> Any:  # The same, which looks at the frame while a dataset function runs
    "Let a dataset function act on a batch, with a warning; `PipelineError` for a stream."

    @wraps(original)
    def act(frame: Any, *args: Any, **kwargs: Any) -> Any:
        evaluation = current_evaluation.get()
        if evaluation is None or evaluation.flow is None:
            return original(frame, *args, **kwargs)
        with evaluating(None):
            _look_at(runtime, evaluation, name, frame)
            return original(frame, *args, **kwargs)

    return act


def _look_at(
    runtime: Runtime,  # The update
    evaluation: Evaluation,  # Takes the action
    name: str,  # The method
    frame: Any,  # What it reads
) -> None:
    "Warn of an action; refuse one on a stream, and leave to Spark what Sail may answer otherwise."
    dataset = _name_dataset(evaluation)
    if frame.isStreaming:
        raise PipelineError(
            f"{name}() acts on a stream, inside the dataset function of {dataset}",
            hint="Databricks refuses it: a stream runs once the function has returned it; "
            "read the table with spark.read",
        )
    evaluation.actions.add(name)
    place = runtime.graph.locate()
    runtime.graph.warn(
        f"{f'{place}: ' if place else ''}{name}() acts inside the dataset function of {dataset}, which "
        "Databricks advises against: it runs while the pipeline is analysed, where its tables have no rows, "
        "and again when they are up to date"
    )
    if not is_sail(runtime.spark):
        return
    if name not in _ON_SAIL:
        raise NeedsSparkError(f"{name}() is run by Spark alone", place)
    runtime.note_unknown(dataset, frame)
    if name not in _OF_NO_ORDER and not engine_of(runtime.spark).has_order(frame):
        runtime.add_unknown(dataset, f"the order of the rows that {name}() gives is not known")


def _name_dataset(
    evaluation: Evaluation,  # Of a flow or a view
) -> str:
    "The dataset whose function runs: the innermost view, or the flow's target."
    if evaluation.views:
        return str(evaluation.views[-1])
    return str(evaluation.flow.target) if evaluation.flow is not None else ""
